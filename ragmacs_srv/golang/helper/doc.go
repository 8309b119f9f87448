package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const namesShown = 4 // in the heading of a group of constants

// Piece is a block of a section as Markdown; Kind is paragraph, item or code.
type Piece struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Section is what is said of one symbol, or under one heading of a comment. Heading is the path to it, without the name
// of the package; Anchor is that of pkg.go.dev; Place is file:line below the source of Go, or "".
type Section struct {
	Anchor  string   `json:"anchor"`
	Heading []string `json:"heading"`
	Pieces  []Piece  `json:"pieces"`
	Place   string   `json:"place"`
}

// standard lists the packages of the standard library that code can import on this machine.
func standard(*Request) (any, error) {
	context, source := documented()
	var all []string
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case !entry.IsDir() || path == source:
			return nil
		case name == "internal" || name == "vendor" || name == "testdata" || strings.ContainsAny(name[:1], "._"):
			return filepath.SkipDir
		case filepath.Dir(path) == source && name == "cmd":
			return filepath.SkipDir
		}
		if found, err := context.ImportDir(path, 0); err == nil && found.Name != "main" {
			relative, err := filepath.Rel(source, path)
			all = append(all, filepath.ToSlash(relative))
			return err
		}
		return nil
	})
	return all, err
}

// documentation gives the sections of a package: one of the standard library, a command of Go, or that in a folder.
func documentation(request *Request) (any, error) {
	missing := fail("package_not_found", "go list std lists them", "%s has no package %s", runtime.Version(), request.Package)
	context, source := documented()
	folder, path := filepath.Join(source, filepath.FromSlash(request.Package)), request.Package
	if filepath.IsAbs(path) {
		folder, source, path = path, "", imported(path)
	} else if !filepath.IsLocal(path) {
		return nil, missing
	}
	if at, err := os.Stat(folder); err != nil || !at.IsDir() {
		return nil, missing
	}
	found, err := context.ImportDir(folder, 0)
	if none := (*build.NoGoError)(nil); errors.As(err, &none) {
		return nil, missing
	} else if err != nil {
		return nil, fail("unreadable", "", "package %s: %v", request.Package, err)
	}
	made, err := newManual(found, source, path)
	if err != nil {
		return nil, fail("unreadable", "", "package %s: %v", request.Package, err)
	}
	made.write()
	return map[string]any{"path": path, "name": found.Name, "sections": made.sections}, nil
}

var moduleLine = regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)`)

// imported is the path by which code imports the package in a folder: that of its module goes before.
func imported(folder string) string {
	for above, below := folder, ""; ; above, below = filepath.Dir(above), filepath.Join(filepath.Base(above), below) {
		text, err := os.ReadFile(filepath.Join(above, "go.mod"))
		if found := moduleLine.FindSubmatch(text); err == nil && found != nil {
			return strings.Trim(string(found[1])+"/"+filepath.ToSlash(below), "/")
		}
		if above == filepath.Dir(above) {
			return filepath.Base(folder)
		}
	}
}

// documented is where the standard library is, and how its files are chosen: cgo is never run here, only read.
func documented() (*build.Context, string) {
	context := build.Default
	context.CgoEnabled = true
	return &context, filepath.Join(context.GOROOT, "src")
}

// manual is the documentation of a package in the making.
type manual struct {
	*doc.Package
	fset     *token.FileSet
	source   string // positions are told below it; "": as they are
	texts    map[string][]byte
	opening  token.Pos
	sections []*Section
	anchors  map[string]bool
}

func newManual(found *build.Package, source, path string) (*manual, error) {
	made := &manual{fset: token.NewFileSet(), source: source, texts: map[string][]byte{}, anchors: map[string]bool{}}
	var files []*ast.File
	for _, name := range slices.Concat(found.GoFiles, found.CgoFiles, found.TestGoFiles, found.XTestGoFiles) {
		name := filepath.Join(found.Dir, name)
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		test := strings.HasSuffix(name, "_test.go")
		if test && !bytes.Contains(text, []byte("\nfunc Example")) {
			continue
		}
		file, err := parser.ParseFile(made.fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if file.Doc != nil && !test && made.opening == token.NoPos {
			made.opening = file.Package
		}
		made.texts[name] = text
		files = append(files, file)
	}
	var mode doc.Mode
	if path == "builtin" {
		mode = doc.AllDecls
	}
	var err error
	made.Package, err = doc.NewFromFiles(made.fset, files, path, mode)
	return made, err
}

// write makes the sections, in the order that pkg.go.dev has them.
func (m *manual) write() {
	imports := []Piece{{"code", fenced("import " + strconv.Quote(m.ImportPath))}}
	if m.Name == "main" {
		imports = nil
	}
	m.said("", nil, imports, m.Doc, m.opening)
	if m.Name == "main" {
		return
	}
	m.examples(nil, "", m.Examples)
	m.values(nil, m.Consts)
	m.values(nil, m.Vars)
	m.functions(nil, "", m.Funcs)
	for _, each := range m.Types {
		above := []string{"type " + each.Name}
		m.said(each.Name, above, m.declared(each.Decl), each.Doc, each.Decl.Pos())
		m.examples(above, each.Name, each.Examples)
		m.values(above, each.Consts)
		m.values(above, each.Vars)
		m.functions(above, "", each.Funcs)
		m.functions(above, each.Name+".", each.Methods)
	}
	for _, each := range m.Notes["BUG"] {
		m.said("pkg-note-BUG", []string{"Bugs"}, nil, each.Body, each.Pos)
	}
}

// values are groups of constants or variables: each has the anchor of its first one.
func (m *manual) values(above []string, groups []*doc.Value) {
	for _, each := range groups {
		names := slices.DeleteFunc(slices.Clone(each.Names), func(name string) bool { return name == "_" })
		if len(names) == 0 {
			continue
		}
		anchor, shown := names[0], names[:min(len(names), namesShown)]
		heading := each.Decl.Tok.String() + " " + strings.Join(shown, ", ")
		if len(names) > len(shown) {
			heading += ", …"
		}
		m.said(anchor, append(slices.Clip(above), heading), m.declared(each.Decl), each.Doc, each.Decl.Pos())
	}
}

// functions are those of the package, those that make a type, or, with a prefix, its methods.
func (m *manual) functions(above []string, prefix string, functions []*doc.Func) {
	for _, each := range functions {
		heading := "func " + each.Name
		if each.Recv != "" {
			heading = fmt.Sprintf("func (%s) %s", each.Recv, each.Name)
		}
		path := append(slices.Clip(above), heading)
		m.said(prefix+each.Name, path, m.declared(each.Decl), each.Doc, each.Decl.Pos())
		m.examples(path, prefix+each.Name, each.Examples)
	}
}

var output = regexp.MustCompile(`(?i)(?m)^\s*//\s*(unordered )?output:[\s\S]*\z`)

// examples are programs with what they print.
func (m *manual) examples(above []string, of string, examples []*doc.Example) {
	if of == "" {
		of = "package"
	}
	for _, each := range examples {
		anchor, heading := "example-"+of, "Example"
		if each.Suffix != "" {
			title := strings.ToUpper(each.Suffix[:1]) + each.Suffix[1:]
			anchor, heading = anchor+"-"+title, "Example ("+title+")"
		}
		code := m.code(each.Code)
		if each.Output != "" || each.EmptyOutput {
			code = output.ReplaceAllString(code, "")
		}
		pieces := []Piece{{"code", fenced(strings.TrimRight(code, " \t\n"))}}
		if each.Output != "" {
			said := "Output:"
			if each.Unordered {
				said = "Output, in any order:"
			}
			pieces = append(pieces, Piece{"paragraph", said}, Piece{"code", fence(strings.TrimRight(each.Output, "\n"), "")})
		}
		m.said(anchor, append(slices.Clip(above), heading), nil, each.Doc, each.Code.Pos(), pieces...)
	}
}

// code is what stands in an example as its author wrote it: a file, or the inside of a function.
func (m *manual) code(node ast.Node) string {
	from, to := m.fset.PositionFor(node.Pos(), false), m.fset.PositionFor(node.End(), false)
	text := string(m.texts[from.Filename][from.Offset:to.Offset])
	if _, is := node.(*ast.BlockStmt); is {
		text = strings.Trim(strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"), "\n")
		text = strings.TrimPrefix(strings.ReplaceAll(text, "\n\t", "\n"), "\t")
	}
	return text
}

// said adds a section of what stands before a comment, the comment, what stands after it, and where it was written. The
// headings of the comment begin sections of their own.
func (m *manual) said(anchor string, heading []string, before []Piece, text string, pos token.Pos, after ...Piece) {
	section := &Section{Anchor: m.unique(anchor), Heading: append([]string{}, heading...), Pieces: before}
	m.sections = append(m.sections, section)
	first := section
	for _, block := range m.Parser().Parse(text).Content {
		title, is := block.(*comment.Heading)
		if !is {
			section.Pieces = append(section.Pieces, m.pieces(block)...)
			continue
		}
		id := title.DefaultID()
		if anchor != "" {
			id = strings.Replace(id, "hdr-", "hdr-"+anchor+"-", 1)
		}
		path := append(slices.Clip(heading), m.text(&comment.Paragraph{Text: title.Text}))
		section = &Section{Anchor: m.unique(id), Heading: path}
		m.sections = append(m.sections, section)
	}
	first.Pieces = append(first.Pieces, after...)
	if pos != token.NoPos {
		first.Place = m.place(pos)
	}
}

// unique is an anchor that no other section has; "" is that of the first alone.
func (m *manual) unique(anchor string) string {
	for n, given := 1, anchor; m.anchors[anchor] || (given == "" && len(m.anchors) > 0); n++ {
		anchor = fmt.Sprintf("%s-%d", given, n)
	}
	m.anchors[anchor] = true
	return anchor
}

func (m *manual) place(pos token.Pos) string {
	at := m.fset.PositionFor(pos, false)
	if relative, err := filepath.Rel(m.source, at.Filename); err == nil && m.source != "" {
		at.Filename = filepath.ToSlash(relative)
	}
	return fmt.Sprintf("%s:%d", at.Filename, at.Line)
}

// declared is a declaration as code.
func (m *manual) declared(node ast.Decl) []Piece {
	var text bytes.Buffer
	if err := format.Node(&text, m.fset, node); err != nil {
		return nil
	}
	return []Piece{{"code", fenced(text.String())}}
}

// pieces are a block of a comment as Markdown.
func (m *manual) pieces(block comment.Block) []Piece {
	switch block := block.(type) {
	case *comment.Code:
		return []Piece{{"code", fence(strings.TrimSuffix(block.Text, "\n"), "")}}
	case *comment.List:
		var all []Piece
		for _, item := range block.Items {
			mark := "- "
			if item.Number != "" {
				mark = item.Number + ". "
			}
			var parts []string
			for _, each := range item.Content {
				parts = append(parts, strings.ReplaceAll(m.text(each), "\n", "\n"+strings.Repeat(" ", len(mark))))
			}
			all = append(all, Piece{"item", mark + strings.Join(parts, "\n\n"+strings.Repeat(" ", len(mark)))})
		}
		return all
	default:
		return []Piece{{"paragraph", m.text(block)}}
	}
}

// text is a paragraph on one line, links by their names.
func (m *manual) text(block comment.Block) string {
	printer := m.Printer()
	printer.TextWidth = -1
	return strings.TrimSpace(string(printer.Text(&comment.Doc{Content: []comment.Block{block}})))
}

func fenced(code string) string { return fence(code, "go") }

// fence puts code between fences longer than any run of backticks in it.
func fence(code, language string) string {
	ticks := "```"
	for strings.Contains(code, ticks) {
		ticks += "`"
	}
	return ticks + language + "\n" + code + "\n" + ticks
}
