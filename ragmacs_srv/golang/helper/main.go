// A request about Go source, as JSON on stdin, becomes a reply as JSON on stdout.
//
// It needs nothing but the standard library, and is built by the toolchain it speaks about: only that one's importer
// reads that one's export data, and only its go/types knows its sizes.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"os"
	"runtime/debug"
)

// Request names a type, and what its package is read with.
type Request struct {
	Op      string            `json:"op"`
	Go      string            `json:"go"` // the program
	Dir     string            `json:"dir"`
	Package string            `json:"package"` // as `go list` takes it
	Type    string            `json:"type"`    // a name, or an expression such as Pair[int8, string]
	File    string            `json:"file"`    // with Line: the type that stands there
	Line    int               `json:"line"`
	Overlay string            `json:"overlay"` // file for -overlay
	Files   map[string]string `json:"files"`   // text of overlaid files, by absolute path
	Tags    string            `json:"tags"`
	Goarch  string            `json:"goarch"`
	Wanted  []Wanted          `json:"wanted"`  // of typedef and fill
	As      string            `json:"as"`      // of fill: func, quick or fuzz
	Without []string          `json:"without"` // of fill: what it may not use, such as http.Request.Pattern
	Roots   []string          `json:"roots"`   // folders whose files may be shown
	Seed    int64             `json:"seed"`

	outline  bool     // what stands in functions is parsed, but not checked: most of the time goes there
	followed []string // see allowed
}

// Failure is a reply without an answer; Kind is one of a fixed list that the caller knows.
type Failure struct {
	Kind    string         `json:"kind"`
	Message string         `json:"message"`
	Hint    string         `json:"hint"`
	More    map[string]any `json:"more,omitempty"`
}

func (f *Failure) Error() string { return f.Message }

func fail(kind, hint, format string, arguments ...any) *Failure {
	return &Failure{Kind: kind, Message: fmt.Sprintf(format, arguments...), Hint: hint}
}

var ops = map[string]func(*Request) (any, error){
	"layout":  layout,
	"survey":  survey,
	"typedef": typedef,
	"fill":    fill,
	"std":     standard,
	"doc":     documentation,
}

func main() {
	debug.SetGCPercent(-1) // it lives for a moment
	debug.SetMemoryLimit(1 << 29)
	var request Request
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		reply(nil, fmt.Errorf("the request is no JSON: %w", err))
		return
	}
	if err := honest(); err != nil {
		reply(nil, err)
		return
	}
	op, known := ops[request.Op]
	if !known {
		reply(nil, fmt.Errorf("there is no operation %q", request.Op))
		return
	}
	answer, err := op(&request)
	reply(answer, err)
}

// honest fails when go/types drops the padding at the end of a struct, as it did before Go 1.22.
func honest() error {
	padded := types.NewStruct([]*types.Var{
		types.NewField(0, nil, "A", types.Typ[types.Int64], false),
		types.NewField(0, nil, "B", types.Typ[types.Bool], false),
	}, nil)
	if types.SizesFor("gc", "amd64").Sizeof(padded) != 16 {
		return fail("go_too_old", "install Go 1.22 or newer", "this Go computes wrong sizes")
	}
	return nil
}

func reply(answer any, err error) {
	var failure *Failure
	if err != nil && !errors.As(err, &failure) {
		failure = &Failure{Kind: "internal", Message: err.Error()}
	}
	out := map[string]any{"answer": answer}
	if failure != nil {
		out = map[string]any{"error": failure}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
