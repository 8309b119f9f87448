#!/bin/sh
# Packages become folders of Lisp under $DEPS/lisp: gptel and what it needs, elfeed, markdown-mode, and package-lint.
# Nothing is installed.
#
# They are Debian's, of sid and trixie, from the mirror that apt knows here, each of one version and hash. sid moves:
# of what is gone, the version that is there now is taken, and said. Where there is no apt, put the folders of gptel
# and package-lint into $DEPS/lisp yourself.
set -eu

# package, version, suite, where in the archive, SHA-256
PINS="
elpa-gptel 0.9.9.6-1 sid e/emacs-gptel 97cd7b444e6ad1c76dfbf5b10ba40d8e472a4160cc311f8ae2e0f7802d095432
elpa-compat 30.1.0.0+dfsg-1 trixie c/compat-el 7a192ceef562bda51ae47aadbd15ce184ae47c91e379cff5c4188205623cb31f
elpa-transient 0.8.8-1 trixie e/elpa-transient fe7e6b37a13fdc09d7af40d8cb2df5bf555134e770d1917b8689314689f338b9
elpa-elfeed 3.4.2-5 trixie e/elfeed abb2e3b1b11bf42d5c2459fa82b3fa0bbc4d50540f5f2b79f9f2fa3a4f670e67
elpa-markdown-mode 2.7-1 trixie m/markdown-mode b68498e0c8462dbdc0f71a4735609e341622b6ba1a609470e3b310b6f82dbaf2
elpa-package-lint 0.26-2 trixie p/package-lint-el d964178909b129c0760cd3794d0abe49f4ee4263c55e35507d59d0ee85579cc9
"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
HELPER=/usr/lib/apt/apt-helper

skip() {
  echo "deps: gptel and package-lint are not fetched: $1; what needs them is skipped" >&2
  exit 0
}

# The lists of both suites, once, by an apt configuration that leaves the system's own alone.
lists() {
  [ ! -e "$apt/lists" ] || return 0
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
  for each in sid trixie; do
    echo "deb [signed-by=$KEYRING] $mirror $each main"
  done >"$apt/sources.list"
  echo "Dir::State \"$apt/state\"; Dir::Cache \"$apt/cache\"; Dir::Etc::sourcelist \"$apt/sources.list\";" \
    'Dir::Etc::sourceparts "-"; APT::Sandbox::User "root"; Acquire::Languages "none";' >"$apt/apt.conf"
  APT_CONFIG="$apt/apt.conf" apt-get -qq update || return 1
  touch "$apt/lists"
}

# The file of package $1 of version $2, or newer, in this folder.
fetch() {
  name=$1 version=$2 suite=$3 place=$4 hash=$5
  file="${name}_${version}_all.deb"
  if "$HELPER" -o APT::Sandbox::User=root download-file "$mirror/pool/main/$place/$file" "$PWD/$file" "SHA256:$hash" \
    >/dev/null 2>&1; then
    return 0
  fi
  lists || return 1
  APT_CONFIG="$apt/apt.conf" apt-get -qq download "$name/$suite" || return 1
  found=$(dpkg-deb -f "$name"_*.deb Version)
  if dpkg --compare-versions "$found" lt "$version"; then
    echo "deps: $name $found is older than $version" >&2
    return 1
  fi
  echo "deps: $name $version is gone from $suite; $found is taken" >&2
}

command -v "${EMACS:-emacs}" >/dev/null ||
  echo "deps: there is no Emacs here; nothing in this folder can be checked (on Debian: apt-get install emacs-nox)" >&2

complete="$DEPS/$(echo "$PINS" | cksum | cut -d ' ' -f 1).complete"
[ ! -e "$complete" ] || exit 0

command -v apt-get >/dev/null && [ -x "$HELPER" ] || skip "there is no apt"
[ -r "$KEYRING" ] || skip "$KEYRING is missing"
mirror=$(for label in 'Label: Debian' 'Created-By: Packages'; do # without lists no label is known
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "$label"
done | head -n 1)
[ -n "$mirror" ] || skip "apt knows no Debian mirror"

apt="$DEPS/apt"
rm -rf "$apt"
mkdir -p "$apt/deb" "$DEPS/lisp"
cd "$apt/deb"
echo "$PINS" | while read -r name rest; do
  [ -n "$name" ] || continue
  fetch "$name" $rest || { echo "deps: $name cannot be fetched from $mirror" >&2; exit 1; }
  dpkg -x "$name"_*.deb "$apt/root"
done
for folder in "$apt"/root/usr/share/emacs/site-lisp/elpa-src/*; do
  rm -rf "$DEPS/lisp/$(basename "$folder")"
  mv "$folder" "$DEPS/lisp/"
done
rm -rf "$apt"
touch "$complete"
