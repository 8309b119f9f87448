package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"sort"
	"strings"
)

// Found is a type, where it is declared, and its declaration, if that is in the package.
type Found struct {
	*Package
	Name string
	Type types.Type
	Pos  token.Position
	Spec *ast.TypeSpec
}

// locate loads the package of the request and finds the type in it: at its own level, then in functions, then in its
// test files, where there is none else.
func locate(request *Request) (*Found, error) {
	request.outline = true
	packages, err := load(request, false)
	if err != nil {
		return nil, err
	}
	if found := among(packages, request); found != nil {
		return found, nil
	}
	first := packages[0]
	request.outline = false
	if first.local(request) {
		if whole, err := load(request, false); err == nil {
			if found := among(whole, request); found != nil {
				return found, nil
			}
		}
	}
	if len(first.TestGoFiles)+len(first.XTestGoFiles) > 0 {
		if tested, err := load(request, true); err == nil {
			if found := among(tested, request); found != nil {
				return found, nil
			}
		}
	}
	if request.Type == "" {
		return nil, fail("unknown_type", "put the cursor into a type declaration", "there is no type at %s:%d",
			request.File, request.Line)
	}
	return nil, first.missing(request.Type, first.known())
}

// local tells whether the type of the request could be declared in a function.
func (p *Package) local(request *Request) bool {
	for _, spec := range p.specs() {
		if request.Type == "" || spec.Name.Name == request.Type {
			return true
		}
	}
	return false
}

func among(packages []*Package, request *Request) *Found {
	for _, each := range packages {
		if request.Type == "" {
			if found := each.at(request.File, request.Line); found != nil {
				return found
			}
		} else if found := each.named(request.Type); found != nil {
			return found
		}
	}
	return nil
}

// named finds a type, or a variable of one, of that name at package level, in a function, or written as an expression.
func (p *Package) named(name string) *Found {
	if object := p.Types.Scope().Lookup(name); object != nil {
		switch object.(type) {
		case *types.TypeName, *types.Var:
			return p.found(name, object.Type(), object.Pos())
		}
	}
	for _, spec := range p.specs() {
		if object := p.Info.Defs[spec.Name]; spec.Name.Name == name && object != nil {
			return p.found(name, object.Type(), object.Pos())
		}
	}
	if !strings.ContainsAny(name, "[.") {
		return nil
	}
	for _, file := range p.Files { // an expression sees the imports of a file
		if value, err := types.Eval(p.Fset, p.Types, file.End(), name); err == nil && value.IsType() {
			return p.found(name, value.Type, token.NoPos)
		}
	}
	return nil
}

// at finds the innermost type declaration that line is part of.
func (p *Package) at(path string, line int) *Found {
	var best *ast.TypeSpec
	for _, spec := range p.specs() {
		from, to := p.Fset.Position(spec.Pos()), p.Fset.Position(spec.End())
		if from.Filename == path && from.Line <= line && line <= to.Line && (best == nil || spec.Pos() > best.Pos()) {
			best = spec
		}
	}
	if best == nil || p.Info.Defs[best.Name] == nil {
		return nil
	}
	return p.found(best.Name.Name, p.Info.Defs[best.Name].Type(), best.Pos())
}

func (p *Package) found(name string, kind types.Type, pos token.Pos) *Found {
	made := &Found{Package: p, Name: name, Type: kind, Pos: p.Fset.Position(pos)}
	if alias, is := kind.(*types.Alias); is && pos == token.NoPos {
		made.Pos = p.Fset.Position(alias.Obj().Pos())
	}
	if named, is := types.Unalias(kind).(*types.Named); is {
		if pos == token.NoPos {
			made.Pos = p.Fset.Position(named.Obj().Pos())
		}
		pos = named.Origin().Obj().Pos()
	}
	for _, spec := range p.specs() {
		if spec.Name.Pos() == pos {
			made.Spec = spec
		}
	}
	return made
}

// specs are all type declarations, those in functions too, in the order of the files.
func (p *Package) specs() []*ast.TypeSpec {
	var all []*ast.TypeSpec
	for _, file := range p.Files {
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, is := node.(*ast.TypeSpec); is {
				all = append(all, spec)
			}
			return true
		})
	}
	return all
}

// known are the names of the types of the package.
func (p *Package) known() []string {
	names := map[string]bool{}
	for _, spec := range p.specs() {
		names[spec.Name.Name] = true
	}
	var all []string
	for name := range names {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
