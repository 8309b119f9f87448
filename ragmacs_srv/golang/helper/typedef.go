package main

import (
	"go/types"
	"os"
	"runtime"
)

const (
	farthest  = 3  // steps from the root of a definition
	mostTypes = 60 // of a definition
)

// Definition is a named type with what code that makes one has to know.
type Definition struct {
	Name         string      `json:"name"` // as code in the home writes it
	Package      string      `json:"pkg"`
	Pos          string      `json:"pos"`
	Depth        int         `json:"depth"`
	Underlying   string      `json:"underlying"`
	Fields       []*FieldDef `json:"fields"`
	Hidden       int         `json:"hidden"` // fields that code in the home cannot name
	Constants    []string    `json:"consts_of_type"`
	Implementers []string    `json:"implementations_of_interface_in_module"`
	Recursive    bool        `json:"recursive"`
	Constructors []string    `json:"constructors"`
}

// FieldDef is a field of a struct.
type FieldDef struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Exported bool   `json:"exported"`
	Tag      string `json:"tag"`
	Embedded bool   `json:"embedded"`
	Kind     string `json:"kind"`
}

// Definitions is the reply to a request for a type with those that it is made of.
type Definitions struct {
	Root     string        `json:"root"`
	Package  string        `json:"package"` // in which the names are written so
	Dir      string        `json:"dir"`
	Types    []*Definition `json:"types"`
	More     int           `json:"more"` // types that were left out
	Goarch   string        `json:"goarch"`
	Goos     string        `json:"goos"`
	Warnings []string      `json:"warnings"`
}

func typedef(request *Request) (any, error) {
	home, kinds, err := settle(request)
	if err != nil {
		return nil, err
	}
	made := &Definitions{
		Root: types.TypeString(kinds[0], home.qualifier), Package: home.ImportPath, Dir: home.Dir, Warnings: home.Errors,
		Goarch: request.Goarch, Goos: os.Getenv("GOOS"),
	}
	if made.Goarch == "" {
		made.Goarch = runtime.GOARCH
	}
	if made.Goos == "" {
		made.Goos = runtime.GOOS
	}
	queue, depth := []types.Type{kinds[0]}, map[string]int{types.TypeString(kinds[0], nil): 0}
	for i := 0; i < len(queue); i++ {
		if len(made.Types) == mostTypes {
			made.More = len(queue) - i
			break
		}
		steps := depth[types.TypeString(queue[i], nil)]
		made.Types = append(made.Types, home.define(queue[i], steps))
		if steps == farthest {
			continue
		}
		for _, each := range home.next(queue[i].Underlying()) {
			if name := types.TypeString(each, nil); depth[name] == 0 && name != types.TypeString(kinds[0], nil) {
				queue, depth[name] = append(queue, each), steps+1
			}
		}
	}
	return made, nil
}

func (h *Home) define(kind types.Type, depth int) *Definition {
	made := &Definition{
		Name: types.TypeString(kind, h.qualifier), Depth: depth,
		Underlying: types.TypeString(kind.Underlying(), h.qualifier),
		Fields:     []*FieldDef{}, Constants: []string{}, Implementers: []string{}, Constructors: []string{},
	}
	if named, is := types.Unalias(kind).(*types.Named); is {
		made.Pos = h.where(named.Origin().Obj().Pos())
		made.Constructors = append(made.Constructors, h.constructors(named)...)
		made.Recursive = h.reaches(kind, kind)
		if of := named.Obj().Pkg(); of != nil {
			made.Package = of.Path()
		}
	}
	if structure, is := kind.Underlying().(*types.Struct); is {
		made.Underlying = "struct"
		h.fields(made, structure)
	}
	for _, each := range h.enum(kind) {
		made.Constants = append(made.Constants, h.written(each)+" = "+each.Val().String())
	}
	for _, each := range h.implementers(kind) {
		made.Implementers = append(made.Implementers, types.TypeString(each, h.qualifier))
	}
	made.Constants = made.Constants[:min(len(made.Constants), 40)]
	made.Implementers = made.Implementers[:min(len(made.Implementers), 20)]
	return made
}

// written is a name as code in the home writes it.
func (h *Home) written(object types.Object) string {
	if name := h.qualifier(object.Pkg()); name != "" {
		return name + "." + object.Name()
	}
	return object.Name()
}

func (h *Home) fields(made *Definition, structure *types.Struct) {
	for i, field := range fieldsOf(structure) {
		if !field.Exported() && field.Pkg() != h.Types {
			made.Hidden++
			continue
		}
		made.Fields = append(made.Fields, &FieldDef{
			field.Name(), types.TypeString(field.Type(), h.qualifier), field.Exported(), structure.Tag(i), field.Embedded(),
			kindOf(field.Type()),
		})
	}
}

// kindOf is a type in a word, as reflect.Kind says it.
func kindOf(kind types.Type) string {
	switch under := kind.Underlying().(type) {
	case *types.Basic:
		return under.Name()
	case *types.Pointer:
		return "ptr"
	case *types.Slice:
		return "slice"
	case *types.Array:
		return "array"
	case *types.Map:
		return "map"
	case *types.Chan:
		return "chan"
	case *types.Signature:
		return "func"
	case *types.Interface:
		return "interface"
	}
	return "struct"
}

// parts are the types that a value of this one holds or leads to, as far as the home can fill them.
func (h *Home) parts(kind types.Type) []types.Type {
	switch under := kind.Underlying().(type) {
	case *types.Pointer:
		return []types.Type{under.Elem()}
	case *types.Slice:
		return []types.Type{under.Elem()}
	case *types.Array:
		return []types.Type{under.Elem()}
	case *types.Chan:
		return []types.Type{under.Elem()}
	case *types.Map:
		return []types.Type{under.Key(), under.Elem()}
	case *types.Struct:
		var all []types.Type
		for _, field := range fieldsOf(under) {
			if field.Exported() || field.Pkg() == h.Types {
				all = append(all, field.Type())
			}
		}
		return all
	}
	return nil
}

// next are the nearest named types in one that is none.
func (h *Home) next(kind types.Type) []types.Type {
	var all []types.Type
	for _, part := range h.parts(kind) {
		if named, is := types.Unalias(part).(*types.Named); is {
			if named.Obj().Pkg() != nil {
				all = append(all, named)
			}
		} else {
			all = append(all, h.next(part)...)
		}
	}
	return all
}

// reaches tells whether a value of one type can hold another type somewhere, other than in a channel.
func (h *Home) reaches(from, to types.Type) bool {
	seen := map[string]bool{}
	var search func(types.Type) bool
	search = func(kind types.Type) bool {
		if _, is := kind.Underlying().(*types.Chan); is {
			return false
		}
		for _, part := range append(h.parts(kind), h.implementers(kind)...) {
			if types.Identical(part, to) {
				return true
			}
			if name := types.TypeString(part, nil); !seen[name] {
				seen[name] = true
				if search(part) {
					return true
				}
			}
		}
		return false
	}
	return search(from)
}
