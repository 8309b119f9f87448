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
	allowed := append([]string{os.Getenv("GOROOT"), modules()}, request.Roots...)
	for _, root := range allowed {
		if root == "" {
			continue
		}
		if followed, err := filepath.EvalSymlinks(root); err == nil {
			root = followed
		}
		if real == root || strings.HasPrefix(real, strings.TrimSuffix(root, "/")+"/") {
			return true
		}
	}
	return false
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
