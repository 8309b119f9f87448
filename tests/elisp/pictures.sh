#!/bin/sh
# elisp/images/*.png: a real Emacs with frames, under an X server that nobody sees, asks a server with a home of its own.
#
# $EMACS_GUI is an Emacs with frames (emacs-gtk, emacs-lucid; with what else it is to be called). Of the pages only the
# handbook is needed; the reading list is fetched from go.dev, or from what $PICTURES_MIRROR says
# (https://go.dev=http://127.0.0.1:8080).
set -eu

needs() {
  echo "pictures: there is no $1 (on Debian: apt-get install $2)" >&2
  exit 1
}

cd "$(dirname "$0")"
gui=${EMACS_GUI:-$(command -v emacs-lucid || command -v emacs-gtk || command -v emacs || true)}
[ -n "$gui" ] || needs "Emacs with frames" emacs-lucid
command -v Xvfb >/dev/null || needs Xvfb xvfb
command -v fc-list >/dev/null && fc-list | grep -q "DejaVu Sans Mono" || needs "font DejaVu Sans Mono" "fontconfig fonts-dejavu-core"

home=$(mktemp -d)
export GOCACHE="${GOCACHE:-$HOME/.cache/go-build}"
export RAGMACS_HOME="$home/ragmacs" TMPDIR="$home" HOME="$home" PYTHONPATH="$PWD/../.."
export PICTURES_FOLDER="$PWD/../../elisp/images" PICTURES_RAGMACS="$PYTHON -m ragmacs_srv serve --stdio"
export PICTURES_EMACS="${EMACS:-emacs}" PICTURES_LIST="$(cat pictures.txt)"
mkdir -p "$RAGMACS_HOME" "$PICTURES_FOLDER"
mirror=${PICTURES_MIRROR:+mirror = [\"$PICTURES_MIRROR\"]}
printf '[search]\nmode = "lexical"\n[network]\nallow = ["https://go.dev"]\n%s\n' "$mirror" >"$RAGMACS_HOME/config.toml"

display=:$(($$ % 1000 + 100))
Xvfb "$display" -screen 0 1600x1200x24 -nolisten tcp >/dev/null 2>&1 &
x=$!
trap 'kill $x; "$PYTHON" -m ragmacs_srv serve --stop >/dev/null 2>&1; rm -rf "$home"' EXIT
DISPLAY=$display $gui -Q -L ../../elisp -l pictures.el
ls -l "$PICTURES_FOLDER"/*.png
