#!/usr/bin/env bash
# Builds what is published into dist/, and tries it where nothing else is installed: `make release`.
# With RELEASE_TAG=v1.2.3 it insists on being that release: the version, a dated heading in CHANGELOG.md, nothing uncommitted.
set -euo pipefail
cd "$(dirname "$0")/.."
project=$1 # the folder with the programs of the development environment
tools=$2   # and the one with those of the tools

fail() {
    echo "make release: $*" >&2
    exit 1
}

version=$("$project/python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
heading=$(grep -m1 -F "## [$version]" CHANGELOG.md) || fail "CHANGELOG.md has no heading for $version"
if [[ -n ${RELEASE_TAG:-} ]]; then
    [[ $RELEASE_TAG == "v$version" ]] || fail "the tag is $RELEASE_TAG, and pyproject.toml says $version"
    [[ $heading =~ -\ [0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || fail "CHANGELOG.md does not say when $version was released"
    [[ -z $(git status --porcelain) ]] || fail "something is not committed"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
mkdir dist "$work/source"
git ls-files -z | xargs -0 cp --parents -t "$work/source" # nothing that happens to lie about

echo "== sdist, and from it the wheel"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
"$project/python" -m build --no-isolation --outdir dist "$work/source" >"$work/build.log" 2>&1 || fail "$(cat "$work/build.log")"
wheel=$(echo "$PWD"/dist/*.whl)
"$tools/twine" check --strict dist/*

echo "== the wheel in an environment of its own"
"$project/python" -m venv "$work/clean"
"$work/clean/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
"$work/clean/bin/python" -m pip check
mkdir "$work/elsewhere"
cd "$work/elsewhere"
told=$("$work/clean/bin/media-stream-receiver" --version)
[[ $told == "$version" ]] || fail "media-stream-receiver --version says $told"
"$work/clean/bin/media-stream-receiver" demo >demo.txt || fail "$(cat demo.txt)"
grep -F stereo.wav demo.txt

echo "== uvx"
UV_PYTHON_DOWNLOADS=never "$tools/uvx" --quiet --isolated --python "$work/clean/bin/python" --from "$wheel" \
    media-stream-receiver demo >uvx.txt || fail "$(cat uvx.txt)"
grep -F stereo.wav uvx.txt
cd - >/dev/null

echo "== what it stands on, as locked"
"$tools/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
    --no-emit-index-url --constraint requirements/dev.txt --output-file "$work/runtime.txt" pyproject.toml
# The warning it has is that a list of requirements does not say who needs which.
PYTHONWARNINGS=ignore "$tools/cyclonedx-py" requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
    --output-file "dist/media-stream-receiver-$version.cdx.json" "$work/runtime.txt"
(cd dist && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" . && sha256sum --check SHA256SUMS)
