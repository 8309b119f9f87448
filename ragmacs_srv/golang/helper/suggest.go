package main

import (
	"go/ast"
	"go/format"
	"go/types"
	"os"
	"strings"
)

// Suggestion is text to stand in place of the lines from Start to End: a struct with its fields in another order.
type Suggestion struct {
	File  string `json:"file"`
	Start int    `json:"start_line"`
	End   int    `json:"end_line"`
	Text  string `json:"text"`
}

// suggest writes a struct anew in that order, each field with what is said of it.
// It gives nil where the struct is not declared in the package, or a comment in it belongs to no field.
func (f *Found) suggest(request *Request, structure *types.Struct, order []*types.Var) *Suggestion {
	if f.Spec == nil {
		return nil
	}
	literal, is := f.Spec.Type.(*ast.StructType)
	if !is || f.strayed(literal) {
		return nil
	}
	start, end := f.Fset.Position(literal.Pos()), f.Fset.Position(literal.End())
	source, err := text(request, start.Filename)
	if err != nil || end.Offset > len(source) {
		return nil
	}
	written := f.written(literal, source)
	lines := []string{"type T struct {"}
	for _, field := range order {
		lines = append(lines, written[place(structure, field)])
	}
	formatted, err := format.Source([]byte(strings.Join(append(lines, "}"), "\n")))
	if err != nil {
		return nil
	}
	line := source[strings.LastIndex(source[:start.Offset], "\n")+1 : start.Offset]
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	body := strings.ReplaceAll(strings.TrimPrefix(string(formatted), "type T "), "\n", "\n"+indent)
	rest, _, _ := strings.Cut(source[end.Offset:], "\n")
	return &Suggestion{start.Filename, start.Line, end.Line, line + body + rest}
}

// text is the source of a file, an overlaid one included.
func text(request *Request, path string) (string, error) {
	if overlaid, is := request.Files[path]; is {
		return overlaid, nil
	}
	read, err := os.ReadFile(path)
	return string(read), err
}

// strayed tells whether a comment in the struct belongs to no field.
func (f *Found) strayed(literal *ast.StructType) bool {
	belongs := map[*ast.CommentGroup]bool{}
	ast.Inspect(literal, func(node ast.Node) bool {
		if field, is := node.(*ast.Field); is {
			belongs[field.Doc], belongs[field.Comment] = true, true
		}
		return true
	})
	for _, file := range f.Files {
		for _, group := range file.Comments {
			if literal.Pos() < group.Pos() && group.End() <= literal.End() && !belongs[group] {
				return true
			}
		}
	}
	return false
}

// written is the source of each field with its comments; of several that share a type, each as if it stood alone.
func (f *Found) written(literal *ast.StructType, source string) []string {
	slice := func(node ast.Node) string {
		return source[f.Fset.Position(node.Pos()).Offset:f.Fset.Position(node.End()).Offset]
	}
	var all []string
	for _, field := range literal.Fields.List {
		said, behind := "", slice(field.Type)
		if field.Doc != nil {
			said = slice(field.Doc) + "\n"
		}
		if field.Tag != nil {
			behind += " " + field.Tag.Value
		}
		if field.Comment != nil {
			behind += " " + slice(field.Comment)
		}
		if len(field.Names) == 0 {
			all = append(all, said+behind)
		}
		for _, name := range field.Names {
			all = append(all, said+name.Name+" "+behind)
		}
	}
	return all
}

func place(structure *types.Struct, field *types.Var) int {
	for i := 0; i < structure.NumFields(); i++ {
		if structure.Field(i) == field {
			return i
		}
	}
	return -1
}
