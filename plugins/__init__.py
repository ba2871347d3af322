"""First-party sink plugins, through the same door as anyone's."""
