"""A function that fills a type builds, vets and gives values that are not zero, or there is an error: never a guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import fill, toolchain
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Place, Workshop

STANDARD = """
net/http.Request net/http.Response net/http.Server net/http.Client net/http.Transport net/http.Cookie net/http.Header
net/url.URL net/url.Values crypto/tls.Config crypto/tls.ConnectionState crypto/x509.Certificate crypto/x509/pkix.Name
math/big.Int math/big.Rat time.Time time.Duration time.Month encoding/json.RawMessage encoding/json.SyntaxError
go/ast.File go/ast.Expr go/ast.FuncDecl go/token.Position net.IPNet net.TCPAddr net.Dialer net/netip.AddrPort
net/mail.Address mime/multipart.FileHeader os.PathError os.ProcAttr io/fs.FileMode reflect.StructField bytes.Buffer
strings.Reader container/list.Element runtime.MemStats encoding/xml.StartElement database/sql.Null
"""

OWN = """
package own

import (
	"context"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	text "text/template"
	"time"
	"unsafe"
)

var time2, rand, strconv = time.Now(), text.New(""), context.TODO() // names that the code would like to have

type Status int

const (
	Open Status = iota + 1
	Closed
	Gone = Closed + 7
)

type Level string

const (
	Low  Level = "low"
	High Level = "high"
)

type Order struct {
	ID       int64 `json:"id"`
	Customer customer
	Lines    []Line
	Status   Status
	Level    *Level
	Created  time.Time
	TTL      time.Duration
	Notes    map[string]string
	parent   *Order
	Err      error
	note     *string
	Site     url.URL
	ctx      context.Context
	done     chan int
	f        func()
	u        unsafe.Pointer
	body     io.ReadCloser
	_        int
}

type customer struct {
	Name, Email string
	Age         uint8
	Tags        []string
}

type Line struct {
	SKU string
	N   int
}

type Node struct {
	Left, Right *Node
	Value       int
	Kids        []Node
	By          map[string]*Node
}

type Locked struct {
	mu   sync.Mutex
	N    atomic.Int64
	A    map[string]int
	Next *Locked
}

type HoldsLocked struct {
	L  Locked
	P  *Locked
	Ls []Locked
	M  map[string]Locked
	In struct{ A, B int }
}

type Shape interface{ Area() float64 }
type Circle struct{ R float64 }

func (c Circle) Area() float64 { return c.R }

type Square struct {
	A, B, C, D float64
	Inner      Shape
}

func (s *Square) Area() float64 { return s.A }

type Pair[K comparable, V any] struct {
	Key K
	Val V
}

type Drawing struct {
	Shapes []Shape
	Main   Shape
	P      Pair[string, Line]
	PP     *Pair[int8, *Pair[string, bool]]
	Any    any
	Deep   [2][3]map[Line][]*int
}

type (
	Slices   []Slices
	Maps     map[string]Maps
	Pointers *struct {
		Next Pointers
		N    int
	}
	Grid     [8][8]byte
	Funcs    struct {
		F func(int) string
		G []func()
		N complex64
	}
	Embeds struct {
		customer
		*Line
		Shape
	}
	A struct{ B *B }
	B struct {
		A []A
		N rune
	}
	Bytes struct {
		Raw  []byte
		Hash [32]byte
		Runes []rune
		Up   uintptr
	}
	Alias  = Pair[Status, []Alias2]
	Alias2 = map[Level]float32
	Anonymous struct {
		Inner struct {
			Deeper []struct{ X, Y int16 }
		}
	}
)

func randomLine(r int) Line { return Line{N: r} } // has the name, but is another
"""
AWKWARD = [
    *("Order", "customer", "Status", "Level", "Node", "Locked", "HoldsLocked", "Shape", "Drawing", "Slices", "Maps"),
    *("Pointers", "Grid", "Funcs", "Embeds", "A", "Bytes", "Alias", "Anonymous", "Pair[time.Month, *Node]"),
]

PROGRAM = """
package own

import (
	"encoding/json"
	mathrand "math/rand"
	"os"
	"reflect"
	"testing"
)

type result struct{ Zero, Same, Differ bool }

func TestFilled(t *testing.T) {
	all := map[string]result{}
	try := func(name string, make func(int64) any) {
		made := result{Zero: true, Same: true}
		first := make(0)
		for seed := int64(0); seed < 20; seed++ {
			value := make(seed)
			v := reflect.ValueOf(value)
			if v.Kind() == reflect.Pointer && !v.IsNil() {
				v = v.Elem()
			}
			made.Zero = made.Zero && v.IsZero()
			made.Same = made.Same && reflect.DeepEqual(value, make(seed))
			made.Differ = made.Differ || !reflect.DeepEqual(value, first)
		}
		all[name] = made
	}
	%s
	out, _ := json.Marshal(all)
	if err := os.WriteFile(os.Getenv("HOME")+"/result.json", out, 0o600); err != nil {
		t.Fatal(err)
	}
}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    (root / "go.mod").write_text("module example.com/own\n\ngo 1.22\n")
    (root / "own.go").write_text(OWN)
    return root


@pytest.fixture(scope="module")
def shop(go: Toolchain, own: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(lambda: go, tmp_path_factory.mktemp("cache"), (own,), Cancel())


def named(path: str) -> tuple[str, str]:
    package, _, name = path.rpartition(".")
    return package, "Null[string]" if name == "Null" else name


@pytest.mark.go
def test_sixty_types_are_filled_with_what_is_not_zero_and_depends_on_the_seed_alone(
    go: Toolchain, shop: Workshop, own: Path, tmp_path: Path
) -> None:
    """Forty of the standard library and twenty awkward ones: built and vetted together, run in one program."""
    wanted = [(".", name) for name in AWKWARD] + [named(path) for path in STANDARD.split()]
    assert (len(AWKWARD), len(wanted)) == (20, 60)
    made = fill.fill(shop, Place(own), wanted)
    assert made.checked.ok and made.checked.vetted
    calls = "\n\t".join(
        f'try("{name}", func(seed int64) any {{ return {name}(mathrand.New(mathrand.NewSource(seed))) }})'
        for name in made.functions
    )
    (tmp_path / "go.mod").write_text((own / "go.mod").read_text())
    (tmp_path / "own.go").write_text(OWN)
    (tmp_path / "filled.go").write_text(made.source)
    (tmp_path / "filled_test.go").write_text(PROGRAM % calls)
    built = toolchain.run(go, ["test", "-c", "-o", "filled", "."], cwd=tmp_path, cancel=Cancel(), seconds=180)
    assert built.code == 0, built.stderr
    environ = {"HOME": str(tmp_path)}
    done = toolchain.started([str(tmp_path / "filled")], cwd=tmp_path, environ=environ, cancel=Cancel())
    assert done.code == 0, done.stdout.decode() + done.stderr
    results = json.loads((tmp_path / "result.json").read_text())
    assert len(results) == 60
    assert {name: each for name, each in results.items() if each != {"Zero": False, "Same": True, "Differ": True}} == {}
