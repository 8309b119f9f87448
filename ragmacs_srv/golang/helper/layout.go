package main

import (
	"go/ast"
	"go/types"
	"sort"
	"strings"
)

// Node is a type that lies somewhere in memory; a field of a struct, with what is in it, or the whole.
type Node struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Offset   int64   `json:"offset"`
	Size     int64   `json:"size"`
	Align    int64   `json:"align"`
	PtrBytes int64   `json:"ptr_bytes"`
	Embedded bool    `json:"embedded,omitempty"`
	Struct   bool    `json:"struct,omitempty"`
	Fields   []*Node `json:"fields,omitempty"` // of a struct
	Len      int64   `json:"len,omitempty"`    // of an array of structs
	Elem     *Node   `json:"elem,omitempty"`
}

// Order is a way to arrange the fields of a struct, and what comes of it.
type Order struct {
	Fields   []string `json:"order"`
	Size     int64    `json:"size"`
	PtrBytes int64    `json:"ptr_bytes"`
	Root     *Node    `json:"root"`
}

// Layout is the reply to a request for one.
type Layout struct {
	Package    string      `json:"package"`
	Type       string      `json:"type"`
	File       string      `json:"file"`
	Line       int         `json:"line"`
	Goarch     string      `json:"goarch"`
	WordSize   int64       `json:"word_size"`
	Root       *Node       `json:"root"`
	Optimal    *Order      `json:"optimal"` // nil: no order of the fields is better
	Suggestion *Suggestion `json:"suggestion"`
	Unkeyed    []string    `json:"unkeyed"` // where the package makes one without naming the fields
	Warnings   []string    `json:"warnings"`
}

const most = 20000 // nodes of a layout

func layout(request *Request) (any, error) {
	found, err := locate(request)
	if err != nil {
		return nil, err
	}
	if err := sized(found); err != nil {
		return nil, err
	}
	return found.layout(request)
}

// survey lays out every struct that the package declares at its own level and that has a size.
func survey(request *Request) (any, error) {
	packages, err := load(request, false)
	if err != nil {
		return nil, err
	}
	all := []*Layout{}
	scope := packages[0].Types.Scope()
	for _, name := range scope.Names() {
		object, is := scope.Lookup(name).(*types.TypeName)
		if !is || object.IsAlias() {
			continue
		}
		found := packages[0].found(name, object.Type(), object.Pos())
		if _, is := object.Type().Underlying().(*types.Struct); !is || sized(found) != nil {
			continue
		}
		if made, err := found.layout(request); err == nil {
			all = append(all, made)
		}
	}
	return all, nil
}

func (f *Found) layout(request *Request) (*Layout, error) {
	measure := &measure{sizes: f.Sizes}
	root := measure.node(f.Name, f.Type)
	if measure.nodes > most {
		return nil, fail("too_large", "", "%s has more than %d fields", f.Name, most)
	}
	made := &Layout{
		Package: f.Types.Path(), Type: f.Name, File: f.Pos.Filename, Line: f.Pos.Line,
		Goarch: f.Goarch, WordSize: measure.word(), Root: root, Warnings: f.Errors, Unkeyed: f.unkeyed(),
	}
	if structure, is := f.Type.Underlying().(*types.Struct); is {
		if order := measure.better(structure); order != nil {
			best := measure.node(f.Name, newStruct(order))
			made.Optimal = &Order{names(order), best.Size, best.PtrBytes, best}
			made.Suggestion = f.suggest(request, structure, order)
		}
	}
	return made, nil
}

// sized fails for a type that has no layout, or none that is known.
func sized(found *Found) error {
	if parameters := free(found.Type); len(parameters) > 0 {
		failure := fail("generic", "give it arguments, such as "+found.Name+"[int]", "%s is generic in %s: it has no size",
			found.Name, strings.Join(parameters, ", "))
		failure.More = map[string]any{"params": parameters}
		return failure
	}
	switch under := found.Type.Underlying().(type) {
	case *types.Struct, *types.Array:
	default:
		if under == types.Typ[types.Invalid] {
			return fail("unresolved_field_type", "make the package compile", "%s is of a type that is not known", found.Name)
		}
		hint := ""
		if pointer, is := under.(*types.Pointer); is {
			hint = "it points to " + types.TypeString(pointer.Elem(), nil)
		}
		failure := fail("not_struct", hint, "%s is no struct, but %s", found.Name, types.TypeString(under, nil))
		failure.More = map[string]any{"underlying": types.TypeString(under, nil)}
		return failure
	}
	if path, bad := unresolved(found.Type, found.Name, map[types.Type]bool{}); bad {
		return fail("unresolved_field_type", "make the package compile; go mod download gets what is missing",
			"the type of %s is not known%s", path, because(found.Errors))
	}
	if found.Sizes.Sizeof(found.Type) < 0 {
		return fail("too_large", "", "%s is larger than an address space", found.Name)
	}
	return nil
}

func because(errors []string) string {
	if len(errors) == 0 {
		return ""
	}
	return ": " + errors[0]
}

// free are the type parameters that a type still has.
func free(kind types.Type) []string {
	named, is := types.Unalias(kind).(*types.Named)
	if !is || named.TypeArgs().Len() > 0 {
		return nil
	}
	var all []string
	for i := 0; i < named.TypeParams().Len(); i++ {
		all = append(all, named.TypeParams().At(i).Obj().Name())
	}
	return all
}

// unresolved names what lies in a type by value and is not known; going is what is being looked into.
func unresolved(kind types.Type, path string, going map[types.Type]bool) (string, bool) {
	if going[kind] {
		return "", false
	}
	going[kind] = true
	switch under := kind.Underlying().(type) {
	case *types.Basic:
		return path, under.Kind() == types.Invalid
	case *types.Array:
		return unresolved(under.Elem(), path+"[]", going)
	case *types.Struct:
		for i := 0; i < under.NumFields(); i++ {
			field := under.Field(i)
			if where, bad := unresolved(field.Type(), path+"."+field.Name(), going); bad {
				return where, true
			}
		}
	}
	return "", false
}

// measure knows sizes, and counts the nodes that it makes.
type measure struct {
	sizes types.Sizes
	nodes int
}

func (m *measure) word() int64 { return m.sizes.Sizeof(types.Typ[types.Uintptr]) }

func (m *measure) node(name string, kind types.Type) *Node {
	m.nodes++
	made := &Node{
		Name: name, Type: types.TypeString(kind, nil), Size: m.sizes.Sizeof(kind), Align: m.sizes.Alignof(kind),
		PtrBytes: m.ptrBytes(kind),
	}
	if m.nodes > most {
		return made
	}
	switch under := kind.Underlying().(type) {
	case *types.Struct:
		made.Struct = true
		fields := fieldsOf(under)
		for i, offset := range m.sizes.Offsetsof(fields) {
			field := m.node(fields[i].Name(), fields[i].Type())
			field.Offset, field.Embedded = offset, fields[i].Embedded()
			made.Fields = append(made.Fields, field)
		}
	case *types.Array:
		if holdsStruct(under.Elem()) {
			made.Len, made.Elem = under.Len(), m.node("[]", under.Elem())
		}
	}
	return made
}

func holdsStruct(kind types.Type) bool {
	switch under := kind.Underlying().(type) {
	case *types.Struct:
		return true
	case *types.Array:
		return holdsStruct(under.Elem())
	}
	return false
}

func fieldsOf(structure *types.Struct) []*types.Var {
	var all []*types.Var
	for i := 0; i < structure.NumFields(); i++ {
		all = append(all, structure.Field(i))
	}
	return all
}

// ptrBytes is the length of the part that the garbage collector scans: up to the end of the last pointer.
func (m *measure) ptrBytes(kind types.Type) int64 {
	word := m.word()
	switch under := kind.Underlying().(type) {
	case *types.Basic:
		if under.Kind() == types.String || under.Kind() == types.UnsafePointer {
			return word
		}
	case *types.Pointer:
		if !notInHeap(under.Elem(), map[types.Type]bool{}) {
			return word
		}
	case *types.Map, *types.Chan, *types.Signature, *types.Slice:
		return word
	case *types.Interface:
		return 2 * word
	case *types.Array:
		if part := m.ptrBytes(under.Elem()); under.Len() > 0 && part > 0 {
			return (under.Len()-1)*m.sizes.Sizeof(under.Elem()) + part
		}
	case *types.Struct:
		fields := fieldsOf(under)
		offsets := m.sizes.Offsetsof(fields)
		for i := len(fields) - 1; i >= 0; i-- {
			if part := m.ptrBytes(fields[i].Type()); part > 0 {
				return offsets[i] + part
			}
		}
	}
	return 0
}

// notInHeap tells the runtime's own types that are never in the heap: a pointer to one is none to the collector.
func notInHeap(kind types.Type, going map[types.Type]bool) bool {
	if going[kind] {
		return false
	}
	going[kind] = true
	if named, is := types.Unalias(kind).(*types.Named); is && named.Obj().Pkg() != nil {
		path := named.Obj().Pkg().Path()
		if named.Obj().Name() == "nih" && (path == "internal/runtime/sys" || path == "runtime/internal/sys") {
			return true
		}
	}
	switch under := kind.Underlying().(type) {
	case *types.Array:
		return notInHeap(under.Elem(), going)
	case *types.Struct:
		for _, field := range fieldsOf(under) {
			if notInHeap(field.Type(), going) {
				return true
			}
		}
	}
	return false
}

// better is an order of the fields that needs less room, or as much and less of it scanned; nil if there is none.
//
// Zero-sized fields come first (at the end they need a byte), then what is aligned more, then what has pointers, those
// with fewer bytes behind the last pointer later. That is the least size: every size is a multiple of its alignment.
func (m *measure) better(structure *types.Struct) []*types.Var {
	order := fieldsOf(structure)
	sort.SliceStable(order, func(i, j int) bool {
		return m.before(order[i].Type(), order[j].Type())
	})
	size, least := m.sizes.Sizeof(structure), m.sizes.Sizeof(newStruct(order))
	scanned, fewest := m.ptrBytes(structure), m.ptrBytes(newStruct(order))
	if least < size || least == size && fewest < scanned {
		return order
	}
	return nil
}

func (m *measure) before(a, b types.Type) bool {
	if zeroA, zeroB := m.sizes.Sizeof(a) == 0, m.sizes.Sizeof(b) == 0; zeroA != zeroB {
		return zeroA
	}
	if alignA, alignB := m.sizes.Alignof(a), m.sizes.Alignof(b); alignA != alignB {
		return alignA > alignB
	}
	ptrA, ptrB := m.ptrBytes(a), m.ptrBytes(b)
	if (ptrA > 0) != (ptrB > 0) {
		return ptrA > 0
	}
	if ptrA > 0 {
		if restA, restB := m.sizes.Sizeof(a)-ptrA, m.sizes.Sizeof(b)-ptrB; restA != restB {
			return restA < restB
		}
	}
	return m.sizes.Sizeof(a) > m.sizes.Sizeof(b)
}

func newStruct(order []*types.Var) *types.Struct { return types.NewStruct(order, nil) }

func names(order []*types.Var) []string {
	var all []string
	for _, field := range order {
		all = append(all, field.Name())
	}
	return all
}

// unkeyed are the places where the package writes a value of the type without the names of its fields.
func (f *Found) unkeyed() []string {
	all := []string{}
	for _, file := range f.Files {
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, is := node.(*ast.CompositeLit); is && literal.Type != nil && positional(literal) {
				all = append(all, f.places(literal, f.kind(literal.Type))...)
			}
			return true
		})
	}
	return all
}

// places are those among a literal of the kind, and the literals in it that leave theirs out.
func (f *Found) places(literal *ast.CompositeLit, kind types.Type) []string {
	if kind == nil {
		return nil
	}
	var all []string
	if pointer, is := kind.Underlying().(*types.Pointer); is { // of an element &T{}, where both are left out
		kind = pointer.Elem()
	}
	if len(literal.Elts) > 0 && !keyed(literal) && types.Identical(kind, f.Type) {
		all = append(all, f.Fset.Position(literal.Pos()).String())
	}
	for _, each := range literal.Elts {
		value, of := each, elem(kind)
		if pair, is := each.(*ast.KeyValueExpr); is {
			value = pair.Value
			if key, is := pair.Key.(*ast.CompositeLit); is && key.Type == nil {
				if mapped, is := kind.Underlying().(*types.Map); is {
					all = append(all, f.places(key, mapped.Key())...)
				}
			}
		}
		if inner, is := value.(*ast.CompositeLit); is && inner.Type == nil {
			all = append(all, f.places(inner, of)...)
		}
	}
	return all
}

// positional tells whether a literal, or one in it that leaves out its type, names no fields.
func positional(literal *ast.CompositeLit) bool {
	if len(literal.Elts) > 0 && !keyed(literal) {
		return true
	}
	for _, each := range literal.Elts {
		if pair, is := each.(*ast.KeyValueExpr); is {
			if key, is := pair.Key.(*ast.CompositeLit); is && key.Type == nil && positional(key) {
				return true
			}
			each = pair.Value
		}
		if inner, is := each.(*ast.CompositeLit); is && inner.Type == nil && positional(inner) {
			return true
		}
	}
	return false
}

func keyed(literal *ast.CompositeLit) bool {
	_, is := literal.Elts[0].(*ast.KeyValueExpr)
	return is
}

func elem(kind types.Type) types.Type {
	if of, is := kind.Underlying().(interface{ Elem() types.Type }); is {
		return of.Elem()
	}
	return nil
}

// kind is the type that an expression names: checked with the rest, or, in a function that was not, as its package and
// the imports of its file know it.
func (f *Found) kind(expr ast.Expr) types.Type {
	if known, is := f.Info.Types[expr]; is {
		return known.Type
	}
	if array, is := expr.(*ast.ArrayType); is {
		if _, open := array.Len.(*ast.Ellipsis); open { // [...]T{}, which stands for a type in a literal only
			if of := f.kind(array.Elt); of != nil {
				return types.NewSlice(of)
			}
			return nil
		}
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	if types.CheckExpr(f.Fset, f.Types, expr.Pos(), expr, info) != nil {
		return nil
	}
	return info.Types[expr].Type
}
