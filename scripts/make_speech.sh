#!/bin/sh
# Makes the two sides of the demo call: receiver/simulate/speech/{inbound,outbound}.flac.
# Needs flite and sox (Debian: flite sox). The result is committed; this is how to remake it.
set -eu

length_s=21
speech=$(cd "$(dirname "$0")/../receiver/simulate/speech" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# say SIDE START_S VOICE TEXT: one utterance, a little quicker than the voice's own pace, silence before it
say() {
    count=$(find "$scratch" -name "$1-*.wav" | wc -l)
    flite -voice "$3" --setf duration_stretch=0.9 -t "$4" -o "$scratch/spoken.wav"
    sox -D -G "$scratch/spoken.wav" -r 16000 -b 16 -c 1 "$scratch/$1-$count.wav" gain -n -6 pad "$2" 0
    echo "$1 from $2 s to $(soxi -D "$scratch/$1-$count.wav") s: $4"
}

caller() { say inbound "$1" rms "$2"; }
agent() { say outbound "$1" slt "$2"; }

agent 0.4 "Harbour Books, good morning. How can I help you?"
caller 3.7 "Hello. I am asking about my order. The number is four, seven, one, one."
agent 9.2 "Four, seven, one, one. It left our shop on Monday, and it will be with you tomorrow before noon."
caller 13.5 "Oh, tomorrow? Wonderful!"
agent 15.9 "Is there anything else?"
caller 17.4 "No, thank you. Goodbye!"
agent 19.8 "Goodbye!"

for side in inbound outbound; do
    # -v 1: sox would make each part quieter the more parts there are
    parts=$(find "$scratch" -name "$side-*.wav" | sort | sed 's/^/-v 1 /')
    # shellcheck disable=SC2086  # the parts are several arguments
    sox -V1 -D -m $parts -C 8 "$speech/$side.flac" pad 0 "$length_s" trim 0 "$length_s"
    echo "$speech/$side.flac: $(soxi -D "$speech/$side.flac") s, $(stat -c %s "$speech/$side.flac") bytes"
done
