package main

import (
	"os"
	"path/filepath"
	"strings"
)

// readable tells whether a file may be shown: links followed, it stands below a root, or is of the standard library or
// of a module in the cache, which the code requires. A link, or a replacement in go.mod, can lead to any file.
func readable(request *Request, path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil { // there is none, as with a buffer that was never saved
		real = path
	}
	for _, root := range request.allowed() {
		if real == root || strings.HasPrefix(real, strings.TrimSuffix(root, "/")+"/") {
			return true
		}
	}
	return false
}

// allowed are the folders below which files may be shown, links followed, looked up once: packages have many files.
func (r *Request) allowed() []string {
	if r.followed == nil {
		r.followed = []string{}
		for _, root := range append([]string{os.Getenv("GOROOT"), modules()}, r.Roots...) {
			if root == "" {
				continue
			}
			if real, err := filepath.EvalSymlinks(root); err == nil {
				root = real
			}
			r.followed = append(r.followed, root)
		}
	}
	return r.followed
}

// open fails when the package, or one of its files, may not be shown.
func (l *listed) open(request *Request) error {
	if l.Dir == "" {
		return nil
	}
	for _, name := range append([]string{"."}, l.GoFiles...) {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(l.Dir, name)
		}
		if !readable(request, path) {
			return fail("outside", "name its folder as a root, when you connect or in [go] roots",
				"%s is in no folder that may be read", path)
		}
	}
	return nil
}

// modules is the folder of the module cache.
func modules() string {
	if folder := os.Getenv("GOMODCACHE"); folder != "" {
		return folder
	}
	if path := filepath.SplitList(os.Getenv("GOPATH")); len(path) > 0 {
		return filepath.Join(path[0], "pkg", "mod")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "go", "pkg", "mod")
}
