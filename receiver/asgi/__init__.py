"""A socket opens: the only place that knows Starlette and uvicorn."""
