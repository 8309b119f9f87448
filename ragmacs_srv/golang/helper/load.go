package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// listed is what `go list` says of a package, as far as it is asked.
type listed struct {
	ImportPath, Name, Dir, Export, ForTest                       string
	GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
	Match, Imports                                               []string
	ImportMap                                                    map[string]string
	DepOnly, Standard                                            bool
	Error                                                        *listError
	DepsErrors                                                   []*listError
	Module                                                       *module
}

type module struct {
	Path, Dir, GoVersion string
	Main                 bool
}

type listError struct {
	ImportStack []string
	Pos, Err    string
}

const fields = "ImportPath,Name,Dir,Export,ForTest,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles," +
	"Match,Imports,ImportMap,DepOnly,Standard,Error,DepsErrors,Module"

// Package is one that was parsed and type-checked, as far as its errors let it be.
type Package struct {
	*listed
	Fset   *token.FileSet
	Files  []*ast.File
	Types  *types.Package
	Info   *types.Info
	Sizes  types.Sizes
	Goarch string
	Errors []string // what the parser and the type checker said, ten at most

	Importer types.Importer // gives the packages that it, or another that was listed with it, imports
}

// load reads the package that the request names; with TESTS, also what its test files declare.
func load(request *Request, tests bool) ([]*Package, error) {
	goarch := request.Goarch
	if goarch == "" {
		goarch = runtime.GOARCH
	}
	sizes := types.SizesFor("gc", goarch)
	if sizes == nil {
		return nil, fail("bad_goarch", "for example amd64, arm64, 386, wasm; go tool dist list shows all",
			"Go has no architecture %q", goarch)
	}
	all, complaints, err := list(request, tests, request.Package)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	var roots []*listed
	for _, each := range all {
		exports[each.ImportPath] = each.Export
		if !each.DepOnly && !strings.HasSuffix(each.ImportPath, ".test") {
			roots = append(roots, each)
		}
	}
	if len(roots) == 0 {
		return nil, unlisted(request.Package, complaints)
	}
	var made []*Package
	for _, root := range roots {
		if tests != (root.ForTest != "") {
			continue
		}
		if err := root.open(request); err != nil {
			return nil, err
		}
		if root.Error != nil && len(root.GoFiles)+len(root.CgoFiles)+len(root.IgnoredGoFiles) == 0 {
			return nil, unlisted(request.Package, root.Error.Err)
		}
		made = append(made, check(request, root, exports, sizes, goarch))
	}
	return made, nil
}

// list runs `go list` on packages and all that they import.
func list(request *Request, tests bool, operands ...string) ([]*listed, string, error) {
	arguments := []string{"list", "-e", "-export", "-deps", "-json=" + fields}
	if tests {
		arguments = append(arguments, "-test")
	}
	if request.Overlay != "" {
		arguments = append(arguments, "-overlay="+request.Overlay)
	}
	if request.Tags != "" {
		arguments = append(arguments, "-tags="+request.Tags)
	}
	command := exec.Command(request.Go, append(append(arguments, "--"), operands...)...)
	command.Dir = request.Dir
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		return nil, "", fail("go_missing", "install Go 1.22 or newer", "%s cannot be started: %v", request.Go, err)
	}
	var all []*listed
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		each := &listed{}
		if err := decoder.Decode(each); err == io.EOF {
			break
		} else if err != nil {
			return nil, "", fmt.Errorf("go list printed no JSON: %w", err)
		}
		all = append(all, each)
	}
	return all, complaints.String(), nil
}

// unlisted says why there is no such package, from what `go list` said.
func unlisted(name, said string) *Failure {
	said = strings.TrimSpace(said)
	for _, each := range []struct{ kind, sign, hint string }{
		{"no_module", "go.mod file not found", "go mod init, or go to the folder of the module"},
		{"no_module", "cannot find main module", "go mod init, or go to the folder of the module"},
		{"nested_module", "main module (", "go to the folder of the module that the package belongs to"},
		{"go_too_old", "requires go >= ", "install that Go; another toolchain is never fetched for you"},
		{"module_not_available", "module lookup disabled", "go mod download"},
		{"module_not_available", "missing go.sum entry", "go mod tidy"},
		{"module_not_available", "no required module provides", "go get it, then go mod download"},
		{"module_not_available", "cannot find module providing", "go mod download"},
		{"module_not_available", "inconsistent vendoring", "go mod vendor"},
		{"excluded_by_build_tags", "build constraints exclude all Go files", "give --tags, --goos or --goarch"},
		{"package_not_found", "", "an import path such as net/http, or a folder such as ./internal/pool"},
	} {
		if strings.Contains(said, each.sign) {
			return &Failure{Kind: each.kind, Message: "package " + name + ": " + first(said), Hint: each.hint}
		}
	}
	return nil
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if line == "" {
		return "go list knows none of that name"
	}
	return line
}

// check parses and type-checks one package; what is wrong with it stands in Errors.
func check(request *Request, root *listed, exports map[string]string, sizes types.Sizes, goarch string) *Package {
	made := &Package{listed: root, Fset: token.NewFileSet(), Sizes: sizes, Goarch: goarch}
	made.Info = &types.Info{Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	made.parse(request, root.GoFiles)
	made.Importer = importing(made.Fset, root, exports)
	config := types.Config{
		Importer:    made.Importer,
		Sizes:       sizes,
		FakeImportC: true,

		IgnoreFuncBodies: request.outline,
		Error:            func(err error) { made.complain(err) },
	}
	if root.Module != nil && root.Module.GoVersion != "" {
		config.GoVersion = "go" + root.Module.GoVersion
	}
	path, _, _ := strings.Cut(root.ImportPath, " ") // of a test variant
	made.Types, _ = config.Check(path, made.Fset, made.Files, made.Info)
	return made
}

// importing reads the export data of what a package imports.
func importing(fset *token.FileSet, root *listed, exports map[string]string) types.Importer {
	lookup := func(path string) (io.ReadCloser, error) {
		if mapped, changed := root.ImportMap[path]; changed {
			path = mapped
		}
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	}
	return importer.ForCompiler(fset, "gc", lookup)
}

// parse reads the files of those names, several at the same time.
func (p *Package) parse(request *Request, names []string) {
	files, wrong := make([]*ast.File, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Add(1)
		go func() {
			defer all.Done()
			files[n], wrong[n] = p.parsed(request, name)
		}()
	}
	all.Wait()
	for n, file := range files {
		if wrong[n] != nil {
			p.complain(wrong[n])
		}
		if file != nil {
			p.Files = append(p.Files, file)
		}
	}
}

func (p *Package) parsed(request *Request, name string) (*ast.File, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Dir, name)
	}
	var source any // nil: the parser reads the file
	if text, overlaid := request.Files[path]; overlaid {
		source = text
	}
	return parser.ParseFile(p.Fset, path, source, parser.ParseComments|parser.SkipObjectResolution)
}

func (p *Package) complain(err error) {
	if len(p.Errors) < 10 {
		p.Errors = append(p.Errors, err.Error())
	}
}

// needsCgo tells whether a file was left out because it speaks to C.
func (p *Package) needsCgo() bool {
	for _, name := range p.IgnoredGoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
		if err != nil {
			continue
		}
		for _, each := range file.Imports {
			if each.Path.Value == `"C"` {
				return true
			}
		}
	}
	return false
}

// missing says why a package has no type of that name.
func (p *Package) missing(name string, known []string) *Failure {
	more := map[string]any{"name": name, "known": known}
	if p.needsCgo() && !build.Default.CgoEnabled {
		return &Failure{"cgo_disabled", "package " + p.ImportPath + " has cgo files, which are not read", "add --cgo", more}
	}
	hint := ""
	if len(p.IgnoredGoFiles) > 0 {
		hint = "not read: " + strings.Join(p.IgnoredGoFiles, ", ") + "; give --tags, --goos or --goarch"
	}
	return &Failure{"unknown_type", "package " + p.ImportPath + " has no type " + name, hint, more}
}
