package main

import (
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"sort"
	"strings"
)

// Home is the package in which code is to stand, and what that code can see.
type Home struct {
	*Package
	Alone      bool                    // it is none of the user's: the folder has no package
	satisfiers map[string][]types.Type // implementers by the name of their interface
}

// Wanted names a type: its package as `go list` takes it, and a name or an instance such as Pair[int8, string].
type Wanted struct {
	Package string `json:"package"`
	Type    string `json:"type"`
}

// settle finds the types of the request, as they are seen from the package in which code about them belongs: that of
// the first where it is the user's own, else the one in the folder, else one that has nothing but these types.
func settle(request *Request) (*Home, []types.Type, error) {
	if len(request.Wanted) == 0 {
		return nil, nil, fail("unknown_type", "name a type", "no type is named")
	}
	if request.Type == "" { // by file and line, or to look for it in test files
		request.Type = request.Wanted[0].Type
	}
	request.Package = request.Wanted[0].Package
	entries, exports, err := entriesOf(request)
	if err != nil {
		return nil, nil, err
	}
	home, err := homeOf(request, entries, exports)
	if err != nil {
		return nil, nil, err
	}
	var kinds []types.Type
	for i, wanted := range request.Wanted {
		kind, err := home.sees(request, wanted, entries[i])
		if err != nil {
			return nil, nil, err
		}
		kinds = append(kinds, kind)
	}
	return home, kinds, nil
}

// entriesOf gives the packages of the wanted types, then that of the folder or nil, and where export data lies.
func entriesOf(request *Request) ([]*listed, map[string]string, error) {
	var operands []string
	for _, wanted := range request.Wanted {
		operands = append(operands, wanted.Package)
	}
	all, _, err := list(request, false, append(operands, ".")...)
	if err == nil && len(all) == 0 { // the folder is in no module
		var complaints string
		if all, complaints, err = list(request, false, operands...); len(all) == 0 && err == nil {
			return nil, nil, unlisted(operands[0], complaints)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	matches, exports := map[string]*listed{}, map[string]string{}
	for _, each := range all {
		exports[each.ImportPath] = each.Export
		for _, operand := range each.Match {
			matches[operand] = each
		}
	}
	var entries []*listed
	for _, operand := range operands {
		found := matches[operand]
		if found == nil {
			return nil, nil, unlisted(operand, "")
		}
		if err := found.open(request); err != nil {
			return nil, nil, err
		}
		if found.Error != nil && len(found.GoFiles)+len(found.CgoFiles)+len(found.IgnoredGoFiles) == 0 {
			return nil, nil, unlisted(operand, found.Error.Err)
		}
		entries = append(entries, found)
	}
	if here := matches["."]; here != nil {
		if err := here.open(request); err != nil {
			return nil, nil, err
		}
	}
	return append(entries, matches["."]), exports, nil
}

func homeOf(request *Request, entries []*listed, exports map[string]string) (*Home, error) {
	sizes := types.SizesFor("gc", "amd64") // nothing here depends on it
	first, here := entries[0], entries[len(entries)-1]
	if first.Module != nil && first.Module.Main {
		made := check(request, first, exports, sizes, request.Goarch)
		if among([]*Package{made}, request) == nil && len(first.TestGoFiles)+len(first.XTestGoFiles) > 0 {
			tested, err := load(request, true)
			if err == nil && among(tested, request) != nil {
				return &Home{Package: among(tested, request).Package}, nil
			}
		}
		return &Home{Package: made}, nil
	}
	if here != nil && len(here.GoFiles) > 0 {
		return &Home{Package: check(request, here, exports, sizes, request.Goarch)}, nil
	}
	if !first.Standard {
		return nil, fail("no_package", "go to the folder of the package that uses it",
			"there is no package in %s in which code about %s could stand", request.Dir, first.ImportPath)
	}
	alone := &Package{listed: &listed{Name: "filled", ImportPath: "filled"}, Fset: token.NewFileSet()}
	alone.Types = types.NewPackage("filled", "filled")
	alone.Importer = importing(alone.Fset, alone.listed, exports)
	return &Home{Package: alone, Alone: true}, nil
}

// sees finds a type of a package as the home sees it.
func (h *Home) sees(request *Request, wanted Wanted, entry *listed) (types.Type, error) {
	if path, _, _ := strings.Cut(h.ImportPath, " "); path == entry.ImportPath || path == entry.ImportPath+"_test" {
		return h.own(request, wanted.Type)
	}
	from, err := h.Importer.Import(entry.ImportPath)
	if err != nil {
		return nil, fail("compile_error", "make the package compile", "package %s: %v", entry.ImportPath, err)
	}
	name, _, instance := strings.Cut(wanted.Type, "[")
	object, is := from.Scope().Lookup(name).(*types.TypeName)
	if !is {
		failure := fail("unknown_type", "", "package %s has no type %s", entry.ImportPath, wanted.Type)
		failure.More = map[string]any{"name": wanted.Type, "known": exported(from.Scope())}
		return nil, failure
	}
	if !object.Exported() {
		return nil, fail("unexported_type", "code about it can stand only in "+entry.ImportPath,
			"%s.%s is not exported", entry.ImportPath, name)
	}
	kind := object.Type()
	if instance {
		value, err := types.Eval(h.Fset, from, token.NoPos, wanted.Type)
		if err != nil {
			return nil, fail("unknown_type", "", "%s.%s: %v", entry.ImportPath, wanted.Type, err)
		}
		kind = value.Type
	}
	return kind, whole(kind, wanted.Type)
}

func (h *Home) own(request *Request, name string) (types.Type, error) {
	var found *Found
	if name == "" {
		if found = h.at(request.File, request.Line); found == nil {
			return nil, fail("unknown_type", "put the cursor into a type declaration", "there is no type at %s:%d",
				request.File, request.Line)
		}
	} else if found = h.named(name); found == nil {
		return nil, h.missing(name, h.known())
	}
	if named, is := types.Unalias(found.Type).(*types.Named); is && local(named) {
		return nil, fail("local_type", "declare it outside of the function", "%s is declared in a function", name)
	}
	if found.Type.Underlying() == types.Typ[types.Invalid] {
		return nil, fail("unresolved_field_type", "make the package compile", "%s is of a type that is not known%s", name,
			because(h.Errors))
	}
	return found.Type, whole(found.Type, name)
}

func local(named *types.Named) bool {
	object := named.Origin().Obj()
	return object.Pkg() != nil && object.Parent() != object.Pkg().Scope()
}

// whole fails for a type that lacks its arguments.
func whole(kind types.Type, name string) error {
	parameters := free(kind)
	if len(parameters) == 0 {
		return nil
	}
	failure := fail("generic", "give it arguments, such as "+name+"[int]", "%s is generic in %s", name,
		strings.Join(parameters, ", "))
	failure.More = map[string]any{"params": parameters}
	return failure
}

func exported(scope *types.Scope) []string {
	var all []string
	for _, name := range scope.Names() {
		if _, is := scope.Lookup(name).(*types.TypeName); is && token.IsExported(name) {
			all = append(all, name)
		}
	}
	return all
}

// scope is all that a package declares and that the home may know of.
func (h *Home) scope(of *types.Package) *types.Scope {
	if of != h.Types {
		if whole, err := h.Importer.Import(of.Path()); err == nil { // until now perhaps only what others need of it
			return whole.Scope()
		}
	}
	return of.Scope()
}

// visible tells whether the home may write that name of that package.
func (h *Home) visible(object types.Object) bool {
	of := object.Pkg()
	if of == nil || of == h.Types {
		return true
	}
	return object.Exported() && importable(of.Path(), h.Types.Path())
}

func importable(path, from string) bool {
	if strings.HasPrefix(path, "vendor/") || path == "main" {
		return false
	}
	at := strings.LastIndex("/"+path+"/", "/internal/")
	if at < 0 {
		return true
	}
	above := strings.TrimSuffix(path[:max(at-1, 0)], "/")
	return above != "" && strings.HasPrefix(from+"/", above+"/")
}

// enum are the constants of a type that the home may write, in the order of their values, each value once.
func (h *Home) enum(kind types.Type) []*types.Const {
	named, is := types.Unalias(kind).(*types.Named)
	if _, basic := kind.Underlying().(*types.Basic); !is || !basic || named.Obj().Pkg() == nil {
		return nil
	}
	scope, seen := h.scope(named.Obj().Pkg()), map[string]bool{}
	var all []*types.Const
	for _, name := range scope.Names() {
		found, is := scope.Lookup(name).(*types.Const)
		if is && types.Identical(found.Type(), kind) && h.visible(found) && !seen[found.Val().ExactString()] {
			seen[found.Val().ExactString()] = true
			all = append(all, found)
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i].Val(), all[j].Val()
		return a.Kind() == b.Kind() && a.Kind() != constant.Bool && constant.Compare(a, token.LSS, b)
	})
	return all
}

// implementers are types that satisfy an interface with methods, or whose pointers do (then as pointers): those of the
// home, of the package of the interface, and of what the home imports, in this order.
func (h *Home) implementers(kind types.Type) []types.Type {
	wanted, is := kind.Underlying().(*types.Interface)
	if !is || wanted.NumMethods() == 0 || !wanted.IsMethodSet() {
		return nil
	}
	name := types.TypeString(kind, nil)
	if h.satisfiers == nil {
		h.satisfiers = map[string][]types.Type{}
	}
	if _, done := h.satisfiers[name]; !done {
		h.satisfiers[name] = h.search(kind, wanted)
	}
	return h.satisfiers[name]
}

func (h *Home) search(kind types.Type, wanted *types.Interface) []types.Type {
	packages := []*types.Package{h.Types}
	if named, is := types.Unalias(kind).(*types.Named); is && named.Obj().Pkg() != nil {
		packages = append(packages, named.Obj().Pkg())
	}
	seen := map[*types.Package]bool{}
	var all []types.Type
	for _, each := range append(packages, h.Types.Imports()...) {
		if seen[each] {
			continue
		}
		seen[each] = true
		scope := h.scope(each)
		for _, name := range scope.Names() {
			if object, is := scope.Lookup(name).(*types.TypeName); is && !object.IsAlias() && h.visible(object) {
				all = append(all, satisfying(object.Type(), wanted)...)
			}
		}
	}
	return all
}

func satisfying(kind types.Type, wanted *types.Interface) []types.Type {
	if types.IsInterface(kind) || len(free(kind)) > 0 {
		return nil
	}
	if types.Implements(kind, wanted) {
		return []types.Type{kind}
	}
	if pointer := types.NewPointer(kind); types.Implements(pointer, wanted) {
		return []types.Type{pointer}
	}
	return nil
}

// constructors are functions of the type's package that give one, or a pointer to one, those called New first.
func (h *Home) constructors(named *types.Named) []string {
	if named.Obj().Pkg() == nil {
		return nil
	}
	scope := h.scope(named.Obj().Pkg())
	var first, all []string
	for _, name := range scope.Names() {
		function, is := scope.Lookup(name).(*types.Func)
		if !is || !h.visible(function) {
			continue
		}
		results := function.Type().(*types.Signature).Results()
		if results.Len() == 0 || !gives(results.At(0).Type(), named) {
			continue
		}
		written := types.ObjectString(function, h.qualifier)
		if strings.HasPrefix(name, "New") {
			first = append(first, written)
		} else {
			all = append(all, written)
		}
	}
	all = append(first, all...)
	return all[:min(len(all), 8)]
}

func gives(result types.Type, named *types.Named) bool {
	if pointer, is := result.(*types.Pointer); is {
		result = pointer.Elem()
	}
	return types.Identical(result, named)
}

// qualifier names packages as code in the home would.
func (h *Home) qualifier(of *types.Package) string {
	if of == h.Types {
		return ""
	}
	return of.Name()
}

// where is a place in the source: file:line, with $GOROOT for the standard library.
func (h *Home) where(pos token.Pos) string {
	at := h.Fset.Position(pos)
	if !at.IsValid() {
		return ""
	}
	return fmt.Sprintf("%s:%d", at.Filename, at.Line)
}
