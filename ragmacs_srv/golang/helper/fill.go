package main

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

const (
	depth   = 3  // how often a type may hold itself
	abroad  = 2  // steps into types of other packages
	bulk    = 40 // functions for each type that is asked for
	choices = 12 // constants or implementers among which is chosen
	word    = "randomString(r)"
)

// Filled is code that makes random values, for a package.
type Filled struct {
	Package   string   `json:"package"` // its import path
	Name      string   `json:"name"`    // as its files say it
	Dir       string   `json:"dir"`
	Test      bool     `json:"test"` // it can stand in a test file only
	Alone     bool     `json:"alone"`
	Types     []string `json:"types"`
	Functions []string `json:"functions"` // for each of them
	Reused    []string `json:"reused"`    // that the package has already
	Imports   []string `json:"imports"`   // as they are written, without the word import
	Code      string   `json:"code"`
	Warnings  []string `json:"warnings"`
}

// function gives a random value of a type.
type function struct {
	name      string
	kind      types.Type
	pointer   bool // it gives a pointer: a value of the type must not be copied
	recursive bool // its work is done by a second one, which knows how deep it may go
	grow      string
	level     int  // steps from what was asked for, in types of other packages
	called    bool // from where that depth is not known
	empty     bool // it gives the zero value
	code      string
}

type filler struct {
	home      *Home
	functions []*function
	without   map[string]bool // what is newer than the module: http.Request.Pattern, http.HTTP2Config
	most      int
	current   *function
	deep      bool              // a part of the field at hand goes one step deeper
	taken     map[string]bool   // names of the package
	imports   map[string]string // name by path
	inside    []types.Type      // that are being filled in place
	reused    []string
	temporary int
}

func fill(request *Request) (any, error) {
	home, kinds, err := settle(request)
	if err != nil {
		return nil, err
	}
	f := &filler{home: home, taken: home.taken(), imports: map[string]string{}, most: bulk * len(kinds)}
	f.without = map[string]bool{}
	for _, each := range request.Without {
		f.without[each] = true
	}
	var roots []*function
	for _, kind := range kinds {
		root := f.function(kind)
		root.called = true
		roots = append(roots, root)
	}
	for i := 0; i < len(f.functions); i++ { // which grow meanwhile
		f.write(f.functions[i])
	}
	made := &Filled{
		Package: home.ImportPath, Name: home.Name, Dir: home.Dir, Test: home.ForTest != "" || request.As == "fuzz",
		Alone: home.Alone, Warnings: home.Errors,
	}
	var parts []string
	for _, each := range f.functions {
		parts = append(parts, f.whole(each, roots))
	}
	for _, root := range roots {
		if root.empty {
			return nil, f.nothing(root)
		}
		made.Types = append(made.Types, f.name(root.kind))
		made.Functions = append(made.Functions, root.name)
		extra, err := f.as(request, root)
		if err != nil {
			return nil, err
		}
		parts = append(parts, extra)
	}
	return made, f.finish(made, strings.Join(parts, "\n"))
}

// nothing says that there is no way to fill a type, and who makes one instead.
func (f *filler) nothing(root *function) error {
	hint := "the package of the type may have a function that makes one"
	if named, is := types.Unalias(root.kind).(*types.Named); is {
		if makers := f.home.constructors(named); len(makers) > 0 {
			hint = "it is made by " + strings.Join(makers[:min(len(makers), 3)], ", ")
		}
	}
	return fail("nothing_to_fill", hint, "nothing in %s can be set from package %s", f.name(root.kind), f.home.Name)
}

// as is what makes a root a generator of testing/quick, or the seed of a fuzz test.
func (f *filler) as(request *Request, root *function) (string, error) {
	name := f.name(root.kind)
	switch request.As {
	case "", "func":
		return "", nil
	case "quick":
		named, is := types.Unalias(root.kind).(*types.Named)
		_, pointer := root.kind.Underlying().(*types.Pointer)
		if !is || pointer || types.IsInterface(root.kind) || named.Obj().Pkg() != f.home.Types || named.TypeArgs().Len() > 0 {
			return "", fail("no_method", "type My "+name+" in the package, and a generator for that; or as func",
				"a method cannot be added to %s in package %s", name, f.home.ImportPath)
		}
		if found, _, _ := types.LookupFieldOrMethod(types.NewPointer(named), true, f.home.Types, "Generate"); found != nil {
			return "", fail("no_method", "remove it, or make it as func", "%s has a Generate already", name)
		}
		receiver := name
		if root.pointer {
			receiver = "*" + name
		}
		return fmt.Sprintf("// Generate makes %s a Generator of testing/quick.\n"+
			"func (%s) Generate(r *%s.Rand, _ int) %s.Value {\n\treturn %[4]s.ValueOf(%[5]s(r))\n}\n",
			name, receiver, f.pkg("math/rand"), f.pkg("reflect"), root.name), nil
	case "fuzz":
		testing, rand := f.pkg("testing"), f.pkg("math/rand")
		return fmt.Sprintf("func %s(f *%s.F) {\n\tf.Add(int64(%d))\n\tf.Fuzz(func(t *%[2]s.T, seed int64) {\n"+
			"\t\tv := %[4]s(%[5]s.New(%[5]s.NewSource(seed)))\n\t\t_ = v // say here what holds for all\n\t})\n}\n",
			f.free("Fuzz"+strings.TrimPrefix(root.name, "random")), testing, request.Seed, root.name, rand), nil
	}
	return "", fail("bad_operand", "func, quick or fuzz", "code cannot be made as %q", request.As)
}

// finish puts the parts together, as gofmt would, with the imports that are used.
func (f *filler) finish(made *Filled, code string) error {
	helper := ""
	if strings.Count(code, word) > 2 {
		if f.has("randomString", types.Typ[types.String]) {
			f.reused = append(f.reused, "randomString")
		} else {
			name := f.free("randomString")
			code = strings.ReplaceAll(code, word, name+"(r)")
			helper = fmt.Sprintf("\nfunc %s(r *%s.Rand) string { return %s.FormatInt(r.Int63(), 36) }\n", name,
				f.pkg("math/rand"), f.pkg("strconv"))
		}
	} else {
		code = strings.ReplaceAll(code, word, f.pkg("strconv")+".FormatInt(r.Int63(), 36)")
	}
	formatted, err := format.Source([]byte(strings.TrimSpace(code+helper) + "\n"))
	if err != nil {
		return fmt.Errorf("what was made is no Go: %w\n%s", err, code)
	}
	made.Code, made.Imports, made.Reused = string(formatted), f.used(string(formatted)), f.reused
	return nil
}

func (f *filler) used(code string) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	named := map[string]bool{}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if selector, is := node.(*ast.SelectorExpr); is {
			if name, is := selector.X.(*ast.Ident); is {
				named[name.Name] = true
			}
		}
		return true
	})
	all := []string{}
	for path, name := range f.imports {
		if named[name] {
			written := strconv.Quote(path)
			if path[strings.LastIndex(path, "/")+1:] != name {
				written = name + " " + written
			}
			all = append(all, written)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i][strings.Index(all[i], `"`):] < all[j][strings.Index(all[j], `"`):] })
	return all
}

// Names

// taken are the names that the package declares, in its test files too.
func (h *Home) taken() map[string]bool {
	all := map[string]bool{"r": true, "v": true, "depth": true, "i": true, "j": true, "k": true, "n": true, "key": true, "value": true}
	for _, name := range h.Types.Scope().Names() {
		all[name] = true
	}
	if h.listed == nil || h.ForTest != "" {
		return all
	}
	for _, name := range h.TestGoFiles {
		parsed, err := parser.ParseFile(token.NewFileSet(), h.Dir+"/"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		for _, each := range parsed.Decls {
			if function, is := each.(*ast.FuncDecl); is && function.Recv == nil {
				all[function.Name.Name] = true
			}
		}
	}
	return all
}

// free is that name, or one with a number behind it, that nothing else has.
func (f *filler) free(name string) string {
	made := name
	for n := 2; f.taken[made] || types.Universe.Lookup(made) != nil; n++ {
		made = name + strconv.Itoa(n)
	}
	f.taken[made] = true
	return made
}

// pkg is the name under which a package is imported.
func (f *filler) pkg(path string) string {
	if f.imports[path] == "" {
		f.imports[path] = f.free(path[strings.LastIndex(path, "/")+1:])
	}
	return f.imports[path]
}

func (f *filler) name(kind types.Type) string {
	return types.TypeString(kind, func(of *types.Package) string {
		if of == f.home.Types {
			return ""
		}
		if f.imports[of.Path()] == "" {
			f.imports[of.Path()] = f.free(of.Name())
		}
		return f.imports[of.Path()]
	})
}

var words = regexp.MustCompile(`\w+`)

// title is a type as a part of a name: PairInt8String.
func title(kind types.Type) string {
	made := ""
	for _, each := range words.FindAllString(types.TypeString(kind, func(*types.Package) string { return "" }), -1) {
		made += strings.ToUpper(each[:1]) + each[1:]
	}
	return made
}

// has tells whether the package declares a function of that name that gives such a value.
func (f *filler) has(name string, kind types.Type) bool {
	function, is := f.home.Types.Scope().Lookup(name).(*types.Func)
	if !is {
		return false
	}
	signature := function.Type().(*types.Signature)
	return signature.Params().Len() == 1 && signature.Params().At(0).Type().String() == "*math/rand.Rand" &&
		signature.Results().Len() == 1 && types.Identical(signature.Results().At(0).Type(), kind)
}

// Functions

// function is the one that gives values of that type.
func (f *filler) function(kind types.Type) *function {
	for _, each := range f.functions {
		if types.Identical(each.kind, kind) {
			return each
		}
	}
	made := &function{kind: kind, pointer: locked(kind), recursive: f.home.reaches(kind, kind)}
	if f.current != nil {
		made.level = f.current.level
		if f.foreign(kind) {
			made.level++
		}
	}
	made.name = f.free("random" + title(kind))
	if made.recursive {
		made.grow = f.free("grow" + title(kind))
	}
	f.functions = append(f.functions, made)
	return made
}

func (f *filler) foreign(kind types.Type) bool {
	named, is := types.Unalias(kind).(*types.Named)
	return is && named.Obj().Pkg() != f.home.Types
}

// callable tells whether a function for values of that type is worth its length.
func (f *filler) callable(kind types.Type) bool {
	if _, named := types.Unalias(kind).(*types.Named); !named {
		return false
	}
	if f.foreign(kind) && f.current.level >= abroad || len(f.functions) >= f.most {
		return false
	}
	if _, is := kind.Underlying().(*types.Struct); is {
		return len(f.fields(kind)) > 0
	}
	return f.home.reaches(kind, kind)
}

// fields are those of a struct that the home can set.
func (f *filler) fields(kind types.Type) []*types.Var {
	var all []*types.Var
	owner := types.TypeString(kind, func(of *types.Package) string { return of.Name() })
	for _, field := range fieldsOf(kind.Underlying().(*types.Struct)) {
		own := field.Exported() || field.Pkg() == f.home.Types
		if own && field.Name() != "_" && !f.without[owner+"."+field.Name()] {
			all = append(all, field)
		}
	}
	return all
}

// call is an expression that gives a value of that type, or a pointer to one where it must not be copied.
func (f *filler) call(kind types.Type) string {
	if name := "random" + title(kind); !types.Identical(f.current.kind, kind) && f.has(name, kind) && !locked(kind) {
		f.reused = append(f.reused, name)
		return name + "(r)"
	}
	called := f.function(kind)
	if called.recursive && f.current.recursive && f.home.reaches(kind, f.current.kind) {
		f.deep = true
		return called.grow + "(r, depth-1)"
	}
	called.called = true
	return called.name + "(r)"
}

// write makes the code of a function, which may need others.
func (f *filler) write(made *function) {
	f.current, f.inside, f.temporary = made, nil, 0
	name, parameters := made.name, fmt.Sprintf("r *%s.Rand", f.pkg("math/rand"))
	if made.recursive {
		name, parameters = made.grow, parameters+", depth int"
	}
	made.code = fmt.Sprintf("func %s(%s) %s {\n%s\n}\n", name, parameters, f.result(made), strings.Join(f.body(made), "\n"))
}

// whole is the code of a function with what it is called by, and with a comment if it was asked for.
func (f *filler) whole(made *function, roots []*function) string {
	code := made.code
	if made.recursive && made.called {
		code = fmt.Sprintf("func %s(r *%s.Rand) %s { return %s(r, %d) }\n\n", made.name, f.pkg("math/rand"), f.result(made),
			made.grow, depth) + code
	}
	for _, root := range roots {
		if root == made {
			said := "// %s returns a random %s; the same seed gives the same one.\n"
			return fmt.Sprintf(said, made.name, strings.TrimPrefix(f.result(made), "*")) + code
		}
	}
	return code
}

func (f *filler) result(made *function) string {
	if made.pointer {
		return "*" + f.name(made.kind)
	}
	return f.name(made.kind)
}

func (f *filler) body(made *function) []string {
	if _, is := made.kind.Underlying().(*types.Struct); !is || f.special(made.kind) != "" {
		return f.simple(made)
	}
	var fields, statements, deeper, left []string
	for _, field := range f.fields(made.kind) {
		f.deep = false
		place := "v." + field.Name()
		if expr := f.expr(field.Type()); expr != "" && !f.deep {
			fields = append(fields, field.Name()+": "+expr+",")
			continue
		}
		f.deep = false
		switch lines := f.put(place, field.Type()); {
		case len(lines) == 0:
			left = append(left, field.Name())
		case f.deep:
			deeper = append(deeper, lines...)
		default:
			statements = append(statements, lines...)
		}
	}
	made.empty = len(fields)+len(statements)+len(deeper) == 0
	if len(deeper) > 0 {
		statements = append(append(append(statements, "if depth > 0 {"), deeper...), "}")
	}
	if len(left) > 0 {
		statements = append(statements, "// Left at zero: "+strings.Join(left, ", ")+".")
	}
	return f.assembled(made, fields, statements)
}

// assembled is the body of a function from the fields of a literal and what is done to it.
func (f *filler) assembled(made *function, fields, statements []string) []string {
	literal, name := "", f.name(made.kind)
	if made.pointer {
		name = "&" + name
	}
	if literal = name + "{}"; len(fields) > 0 {
		literal = name + "{\n" + strings.Join(fields, "\n") + "\n}"
	}
	if len(statements) == 0 {
		return []string{"return " + literal}
	}
	first := "v := " + literal
	if len(fields) == 0 && !made.pointer {
		first = "var v " + name
	}
	return append(append([]string{first}, statements...), "return v")
}

// simple is the body of a function for what is no struct.
func (f *filler) simple(made *function) []string {
	if !made.recursive {
		if expr := f.expr(made.kind); expr != "" {
			return []string{"return " + expr}
		}
	}
	f.deep = false
	lines := f.spread("v", made.kind)
	made.empty = len(lines) == 0
	if f.deep {
		lines = append(append([]string{"if depth > 0 {"}, lines...), "}")
	}
	return append(append([]string{"var v " + f.name(made.kind)}, lines...), "return v")
}

// Values

// expr is an expression of that type, or "" where there is none.
func (f *filler) expr(kind types.Type) string {
	if !f.nameable(kind) {
		return ""
	}
	if found := f.special(kind); found != "" {
		return found
	}
	if all := f.enum(kind); len(all) > 1 {
		return f.one(kind, all)
	}
	made := ""
	switch under := kind.Underlying().(type) {
	case *types.Basic:
		made = f.basic(kind, under)
	case *types.Pointer:
		made = f.pointer(under)
	case *types.Slice:
		made = f.slice(kind, under)
	case *types.Map:
		made = f.table(kind, under)
	case *types.Struct:
		made = f.literal(kind)
	}
	if made != "" {
		return made
	}
	if f.callable(kind) && !locked(kind) {
		return f.call(kind)
	}
	return ""
}

// enum are the constants of a type, without those that are newer than the module.
func (f *filler) enum(kind types.Type) []*types.Const {
	var all []*types.Const
	for _, each := range f.home.enum(kind) {
		if !f.newer(each) {
			all = append(all, each)
		}
	}
	return all
}

func (f *filler) newer(object types.Object) bool {
	return object.Pkg() != nil && f.without[object.Pkg().Name()+"."+object.Name()]
}

// one of the constants of a type.
func (f *filler) one(kind types.Type, all []*types.Const) string {
	var names []string
	for _, each := range all[:min(len(all), choices)] {
		name := each.Name()
		if each.Pkg() != f.home.Types {
			name = f.name(kind)[:strings.LastIndex(f.name(kind), ".")+1] + name
		}
		names = append(names, name)
	}
	return fmt.Sprintf("[]%s{%s}[r.Intn(%d)]", f.name(kind), strings.Join(names, ", "), len(names))
}

var basics = map[types.BasicKind][2]string{ // expression, and its type
	types.Bool: {"r.Intn(2) == 0", "bool"}, types.Int: {"r.Int()", "int"}, types.Int8: {"r.Intn(1<<8)", ""},
	types.Int16: {"r.Intn(1<<16)", ""}, types.Int32: {"r.Int31()", "int32"}, types.Int64: {"r.Int63()", "int64"},
	types.Uint: {"r.Uint64()", ""}, types.Uint8: {"r.Intn(1<<8)", ""}, types.Uint16: {"r.Intn(1<<16)", ""},
	types.Uint32: {"r.Uint32()", "uint32"}, types.Uint64: {"r.Uint64()", "uint64"}, types.Uintptr: {"r.Uint64()", ""},
	types.Float32: {"r.Float32()", "float32"}, types.Float64: {"r.Float64()", "float64"},
	types.Complex64:  {"complex(r.Float32(), r.Float32())", "complex64"},
	types.Complex128: {"complex(r.Float64(), r.Float64())", "complex128"},
	types.String:     {word, "string"},
}

func (f *filler) basic(kind types.Type, under *types.Basic) string {
	found, known := basics[under.Kind()]
	if !known {
		return ""
	}
	if name := f.name(kind); name != found[1] && !(name == "rune" && found[1] == "int32") {
		return name + "(" + found[0] + ")"
	}
	return found[0]
}

func (f *filler) pointer(under *types.Pointer) string {
	elem := under.Elem()
	if !f.nameable(elem) {
		return ""
	}
	if _, is := elem.Underlying().(*types.Struct); !is {
		return ""
	}
	if literal := f.literal(elem); literal != "" {
		return "&" + literal
	}
	if locked(elem) && f.callable(elem) {
		return f.call(elem)
	}
	return ""
}

func (f *filler) slice(kind types.Type, under *types.Slice) string {
	if basic, is := under.Elem().(*types.Basic); is && basic.Kind() == types.Byte {
		return f.conversion(kind) + "(" + word + ")"
	}
	if elem := f.short(under.Elem()); elem != "" {
		return fmt.Sprintf("%s{%s, %s}[:1+r.Intn(2)]", f.name(kind), elem, elem)
	}
	return ""
}

func (f *filler) conversion(kind types.Type) string {
	if name := f.name(kind); !strings.HasPrefix(name, "*") {
		return name
	}
	return "(" + f.name(kind) + ")"
}

func (f *filler) table(kind types.Type, under *types.Map) string {
	key, elem := f.short(under.Key()), f.short(under.Elem())
	if key == "" || elem == "" {
		return ""
	}
	return fmt.Sprintf("%s{%s: %s}", f.name(kind), key, elem)
}

// short is an expression for a basic type, short enough to be written twice.
func (f *filler) short(kind types.Type) string {
	if _, is := kind.Underlying().(*types.Basic); !is || len(f.enum(kind)) > 1 || f.special(kind) != "" || !f.nameable(kind) {
		return ""
	}
	return f.expr(kind)
}

// literal is a struct of few fields, each an expression; "" for others.
func (f *filler) literal(kind types.Type) string {
	if _, named := types.Unalias(kind).(*types.Named); !named || f.special(kind) != "" || f.home.reaches(kind, kind) || locked(kind) {
		return ""
	}
	fields := f.fields(kind)
	if len(fields) == 0 || len(fields) > 3 {
		return ""
	}
	var all []string
	for _, field := range fields {
		if _, nested := field.Type().Underlying().(*types.Struct); nested && f.special(field.Type()) == "" {
			return ""
		}
		if _, nested := field.Type().Underlying().(*types.Pointer); nested && f.special(field.Type()) == "" {
			return ""
		}
		expr := f.expr(field.Type())
		if expr == "" {
			return ""
		}
		all = append(all, field.Name()+": "+expr)
	}
	return f.name(kind) + "{" + strings.Join(all, ", ") + "}"
}

// put are the statements that fill what stands at a place; none where it stays zero.
func (f *filler) put(place string, kind types.Type) []string {
	if !f.nameable(kind) && !f.inPlace(kind) {
		return nil
	}
	if expr := f.expr(kind); expr != "" {
		return []string{place + " = " + expr}
	}
	if _, named := types.Unalias(kind).(*types.Named); named {
		_, structure := kind.Underlying().(*types.Struct)
		if !locked(kind) && (structure || f.home.reaches(kind, kind)) || f.filling(kind) { // a function would have done it
			return nil
		}
		f.inside = append(f.inside, kind)
		defer func() { f.inside = f.inside[:len(f.inside)-1] }()
	}
	return f.spread(place, kind)
}

// spread are the statements that fill the parts of what stands at a place.
func (f *filler) spread(place string, kind types.Type) []string {
	switch under := kind.Underlying().(type) {
	case *types.Pointer:
		return f.putPointer(place, under)
	case *types.Slice:
		inner := f.loop(place, under.Elem())
		if len(inner) == 0 {
			return nil
		}
		return append([]string{fmt.Sprintf("%s = make(%s, 1+r.Intn(3))", place, f.name(kind))}, inner...)
	case *types.Array:
		if under.Len() == 0 {
			return nil
		}
		return f.loop(place, under.Elem())
	case *types.Map:
		return f.putMap(place, kind, under)
	case *types.Interface:
		return f.putInterface(place, kind)
	case *types.Struct:
		var all []string
		for _, field := range f.fields(kind) {
			all = append(all, f.put(place+"."+field.Name(), field.Type())...)
		}
		return all
	}
	return nil
}

// inPlace tells of a type without a name whether its parts may have one.
func (f *filler) inPlace(kind types.Type) bool {
	switch kind.(type) {
	case *types.Struct, *types.Array:
		return true
	}
	return locked(kind)
}

// filling tells whether a type is being filled in place already.
func (f *filler) filling(kind types.Type) bool {
	for _, each := range append(f.inside, f.current.kind) {
		if types.Identical(each, kind) {
			return true
		}
	}
	return false
}

func (f *filler) putPointer(place string, under *types.Pointer) []string {
	elem := under.Elem()
	if !f.nameable(elem) || locked(elem) {
		return nil
	}
	pointed := "(*" + place + ")"
	if _, is := elem.(*types.Struct); is {
		pointed = place // a selector follows it
	}
	inner := f.put(pointed, elem)
	if len(inner) == 0 {
		return nil
	}
	for i, line := range inner {
		inner[i] = starred.ReplaceAllString(line, "*$1$2")
	}
	return append([]string{fmt.Sprintf("%s = new(%s)", place, f.name(elem))}, inner...)
}

var starred = regexp.MustCompile(`^\(\*([\w.\[\]]+)\)( = )`)

func (f *filler) loop(place string, elem types.Type) []string {
	index := string("ijklmnopq"[min(strings.Count(place, "["), 8)])
	inner := f.put(place+"["+index+"]", elem)
	if len(inner) == 0 {
		return nil
	}
	return append(append([]string{fmt.Sprintf("for %s := range %s {", index, place)}, inner...), "}")
}

func (f *filler) putMap(place string, kind types.Type, under *types.Map) []string {
	if locked(under.Elem()) || locked(under.Key()) {
		return nil
	}
	var lines []string
	key, lines := f.held("key", under.Key(), lines)
	elem, lines := f.held("value", under.Elem(), lines)
	if key == "" || elem == "" {
		return nil
	}
	lines = append(lines, fmt.Sprintf("%s[%s] = %s", place, key, elem))
	head := []string{fmt.Sprintf("%s = make(%s)", place, f.name(kind)), "for n := 1 + r.Intn(3); n > 0; n-- {"}
	return append(append(head, lines...), "}")
}

// held is an expression for a value, which may need lines before it.
func (f *filler) held(name string, kind types.Type, lines []string) (string, []string) {
	if expr := f.expr(kind); expr != "" {
		return expr, lines
	}
	f.temporary++
	if f.temporary > 1 {
		name += strconv.Itoa(f.temporary)
	}
	inner := f.put(name, kind)
	if len(inner) == 0 {
		return "", lines
	}
	return name, append(lines, f.declared(name, kind, inner)...)
}

// declared is a variable of that type with the statements that fill it.
func (f *filler) declared(name string, kind types.Type, statements []string) []string {
	if value, is := strings.CutPrefix(statements[0], name+" = "); is {
		return append([]string{name + " := " + value}, statements[1:]...)
	}
	return append([]string{"var " + name + " " + f.name(kind)}, statements...)
}

// putInterface chooses among implementers; where nothing may go deeper, among those that need not.
func (f *filler) putInterface(place string, kind types.Type) []string {
	before := f.deep
	var deeper, others [][]string
	for _, each := range f.home.implementers(kind) {
		if len(deeper)+len(others) == 3 {
			break
		}
		f.deep = false
		if lines := f.implemented(place, each); len(lines) > 0 && f.deep {
			deeper = append(deeper, lines)
		} else if len(lines) > 0 {
			others = append(others, lines)
		}
	}
	f.deep = before || len(others) == 0 && len(deeper) > 0
	cases := append(deeper, others...)
	if len(cases) == 0 {
		return nil
	}
	if len(cases) == 1 {
		return cases[0]
	}
	lines := []string{fmt.Sprintf("switch n := r.Intn(%d); {", len(cases))}
	for n, each := range cases {
		head := fmt.Sprintf("case n == %d:", n)
		if n < len(deeper) && len(others) > 0 {
			head = fmt.Sprintf("case n == %d && depth > 0:", n)
		} else if n == len(cases)-1 {
			head = "default:"
		}
		lines = append(append(lines, head), each...)
	}
	return append(lines, "}")
}

// implemented puts an implementer into an interface.
func (f *filler) implemented(place string, kind types.Type) []string {
	elem := kind
	pointer, is := kind.(*types.Pointer)
	if is {
		elem = pointer.Elem()
	}
	_, structure := elem.Underlying().(*types.Struct)
	bare := structure && len(f.fields(elem)) == 0
	if bare && f.foreign(elem) {
		return nil
	}
	if expr := f.expr(kind); expr != "" {
		return []string{place + " = " + expr}
	}
	f.temporary++
	name := "e" + strconv.Itoa(f.temporary)
	if bare { // an own one without fields
		if elem == kind {
			return []string{place + " = " + f.name(elem) + "{}"}
		}
		return []string{place + " = &" + f.name(elem) + "{}"}
	}
	if locked(elem) {
		return nil
	}
	if expr := f.expr(elem); is && expr != "" {
		return []string{name + " := " + expr, place + " = &" + name}
	}
	inner := f.put(name, elem)
	if len(inner) == 0 {
		return nil
	}
	lines, value := f.declared(name, elem, inner), name
	if is {
		value = "&" + name
	}
	return append(lines, place+" = "+value)
}

// What the code may say

// nameable tells whether the home can write a type.
func (f *filler) nameable(kind types.Type) bool {
	switch kind := types.Unalias(kind).(type) {
	case *types.Basic:
		return kind.Kind() != types.Invalid && kind.Kind() != types.UnsafePointer
	case *types.Named:
		for i := 0; i < kind.TypeArgs().Len(); i++ {
			if !f.nameable(kind.TypeArgs().At(i)) {
				return false
			}
		}
		return f.home.visible(kind.Obj()) && !local(kind) && !f.newer(kind.Obj())
	case *types.Pointer:
		return f.nameable(kind.Elem())
	case *types.Slice:
		return f.nameable(kind.Elem())
	case *types.Array:
		return f.nameable(kind.Elem())
	case *types.Map:
		return f.nameable(kind.Key()) && f.nameable(kind.Elem())
	case *types.Struct:
		for _, field := range fieldsOf(kind) {
			if !f.nameable(field.Type()) || !field.Exported() && field.Pkg() != f.home.Types {
				return false
			}
		}
		return true
	case *types.Interface:
		return true
	}
	return false
}

// locked tells whether go vet forbids to copy a value of that type.
func locked(kind types.Type) bool {
	switch under := kind.Underlying().(type) {
	case *types.Array:
		return locked(under.Elem())
	case *types.Struct:
		for _, field := range fieldsOf(under) {
			if locked(field.Type()) {
				return true
			}
		}
	case *types.Interface, *types.Pointer:
		return false
	}
	return isLocker(types.NewMethodSet(types.NewPointer(kind))) && !isLocker(types.NewMethodSet(kind))
}

func isLocker(methods *types.MethodSet) bool {
	return methods.Lookup(nil, "Lock") != nil && methods.Lookup(nil, "Unlock") != nil
}

// specials are types of which only some values make sense; {path} stands for a package.
var specials = map[string]string{
	"time.Time":                "{time}.Unix(r.Int63n(1<<32), 0).UTC()",
	"time.Duration":            "{time}.Duration(r.Int63n(int64({time}.Hour)))",
	"*time.Location":           "{time}.UTC",
	"*math/big.Int":            "{math/big}.NewInt(r.Int63())",
	"*math/big.Rat":            "{math/big}.NewRat(r.Int63(), 1+r.Int63n(1000))",
	"*math/big.Float":          "{math/big}.NewFloat(r.Float64())",
	"net/netip.Addr":           "{net/netip}.AddrFrom4([4]byte{192, 0, 2, byte(r.Intn(1 << 8))})",
	"net/netip.AddrPort":       "{net/netip}.AddrPortFrom({net/netip}.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(r.Intn(1<<16)))",
	"net/netip.Prefix":         "{net/netip}.PrefixFrom({net/netip}.AddrFrom4([4]byte{192, 0, 2, byte(r.Intn(1 << 8))}), 24)",
	"net.IP":                   "{net}.IPv4(192, 0, 2, byte(r.Intn(1<<8)))",
	"net.IPMask":               "{net}.CIDRMask(8+r.Intn(24), 32)",
	"*net/url.Userinfo":        "{net/url}.User(randomString(r))",
	"encoding/json.RawMessage": "{encoding/json}.RawMessage(`\"` + randomString(r) + `\"`)",
	"encoding/json.Number":     "{encoding/json}.Number({strconv}.Itoa(r.Int()))",
	"*bytes.Buffer":            "{bytes}.NewBufferString(randomString(r))",
	"*bytes.Reader":            "{bytes}.NewReader([]byte(randomString(r)))",
	"*strings.Reader":          "{strings}.NewReader(randomString(r))",
	"*regexp.Regexp":           "{regexp}.MustCompile(randomString(r))",
	"context.Context":          "{context}.Background()",
	"io.Reader":                "{strings}.NewReader(randomString(r))",
	"io.ReadCloser":            "{io}.NopCloser({strings}.NewReader(randomString(r)))",
	"io.Writer":                "{io}.Discard",
	"error":                    "{errors}.New(randomString(r))",
	"any":                      "r.Int()",
	"interface{}":              "r.Int()",
}

var hole = regexp.MustCompile(`\{([a-z/]+)\}`)

func (f *filler) special(kind types.Type) string {
	name := types.TypeString(kind, nil)
	found, known := specials[name]
	if pointed, is := specials["*"+name]; !known && is && !locked(kind) && name != "time.Location" {
		found, known = "*"+pointed, true
	}
	if !known || strings.HasPrefix(strings.TrimLeft(name, "*"), f.home.Types.Path()+".") {
		return ""
	}
	return hole.ReplaceAllStringFunc(found, func(found string) string { return f.pkg(strings.Trim(found, "{}")) })
}
