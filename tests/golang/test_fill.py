"""A function that fills a type builds, vets and gives values that are not zero, or there is an error: never a guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragmacs_srv.errors import InvalidParams, ToolchainError
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import fill, toolchain, typedef
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

type One interface{ One() }
type Only struct {
	A     [2]*int
	B     [][]bool
	C     map[string][]byte
	Inner *customer
}

func (*Only) One() {}

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
    *("Order", "customer", "Status", "One", "Node", "Locked", "HoldsLocked", "Shape", "Drawing", "Slices", "Maps"),
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
def shop(go: Toolchain, own: Path, module: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(lambda: go, tmp_path_factory.mktemp("cache"), (own, module), Cancel())


def named(path: str) -> tuple[str, str]:
    package, _, name = path.rpartition(".")
    return package, "Null[string]" if name == "Null" else name


@pytest.mark.go
@pytest.mark.timeout(900)  # where nothing is compiled yet, on a busy machine
def test_sixty_types_are_filled_with_what_is_not_zero_and_depends_on_the_seed_alone(
    go: Toolchain, shop: Workshop, own: Path, tmp_path: Path
) -> None:
    """Forty of the standard library and twenty awkward ones: built and vetted together, run in one program."""
    wanted = [(".", name) for name in AWKWARD] + [named(path) for path in STANDARD.split()]
    assert (len(AWKWARD), len(wanted)) == (20, 60)
    imported = sorted({package for package, _ in wanted})
    toolchain.run(go, ["list", "-export", "-deps", *imported], cwd=own, cancel=Cancel(), seconds=400)  # compiles them
    made = fill.fill(shop, Place(own), wanted)
    assert made.checked.ok and made.checked.vetted
    assert "Quoted" not in made.code  # of http.Cookie, since go1.23: newer than the module
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


FILES = {
    "go.mod": "module example.com/m\n\ngo 1.22\n",
    "pool/pool.go": """package pool

import "math/rand"

type Conn struct {
	Host  string
	peers []Peer
}

type Peer struct{ Name, Zone, City, Land string }
type Bare struct{ mu chan int }
type Box[T any] struct{ V T }
type Handler interface{ Handle() }

func f() { type local struct{ A int } }

func randomPeer(r *rand.Rand) Peer { return Peer{Name: "mine"} }
""",
    "pool/pool_test.go": "package pool\n\ntype OnlyInTests struct{ A []string }\n\nfunc randomConn() {}\n",
    "broken/broken.go": "package broken\n\ntype T struct{ A int }\n\nfunc f() int { return nowhere }\n",
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("module")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.go
def test_what_the_package_has_already_is_used_and_no_name_is_taken_twice(
    go: Toolchain, shop: Workshop, module: Path
) -> None:
    made = fill.fill(shop, Place(module), [("./pool", "Conn")], form="quick")
    assert made.reused == ("randomPeer",)
    assert "v.peers[i] = randomPeer(r)" in made.code
    assert made.functions == ("randomConn2",)  # its tests have the other
    assert "func (Conn) Generate(r *rand.Rand, _ int) reflect.Value" in made.code
    assert made.imports == ('"math/rand"', '"reflect"', '"strconv"')
    assert gofmt(go, made.source) == made.source
    assert not (module / "pool/ragmacs_filled.go").exists()


def gofmt(go: Toolchain, source: str) -> str:
    program = [str(go.program.with_name("gofmt"))]
    done = toolchain.started(program, cwd=Path("/"), environ={}, cancel=Cancel(), stdin=source.encode())
    return done.stdout.decode()


@pytest.mark.go
def test_what_only_tests_declare_is_filled_in_a_test_file(shop: Workshop, module: Path) -> None:
    made = fill.fill(shop, Place(module), [("./pool", "OnlyInTests")], form="fuzz", seed=7)
    assert made.test
    assert "func FuzzOnlyInTests(f *testing.F) {\n\tf.Add(int64(7))\n" in made.code


@pytest.mark.go
def test_a_type_of_others_is_filled_where_there_is_no_package(shop: Workshop, tmp_path: Path) -> None:
    made = fill.fill(shop, Place(tmp_path), [("net/url", "Values")])
    assert (made.package, made.checked.ok) == ("", True)
    assert "func randomValues(r *rand.Rand) url.Values {" in made.source
    assert made.text().startswith("// Built and vetted in a package of its own with go1.")


@pytest.mark.go
def test_an_unsaved_buffer_is_what_is_filled(shop: Workshop, module: Path) -> None:
    path = module / "pool/pool.go"
    text = "package pool\n\ntype Conn struct {\n\tPort uint16\n}\n"
    made = fill.fill(shop, Place(module / "pool", overlay={path: text}), [(".", "")], at=(path, 4))
    assert made.types == ("Conn",)
    assert "Port: uint16(r.Intn(1 << 16))" in made.code


@pytest.mark.go
@pytest.mark.parametrize(
    ("package", "name", "form", "kind"),
    [
        ("./pool", "Nothing", "func", "unknown_type"),
        ("./pool", "Box", "func", "generic"),
        ("./pool", "Bare", "func", "nothing_to_fill"),
        ("./pool", "Handler", "func", "nothing_to_fill"),
        ("./pool", "local", "func", "local_type"),
        ("./broken", "T", "func", "compile_error"),
        ("net/http", "Request", "quick", "no_method"),
        ("net/http", "Respond", "func", "unknown_type"),
        ("runtime", "g", "func", "unexported_type"),
        ("./nowhere", "T", "func", "package_not_found"),
    ],
)
def test_what_cannot_be_filled_is_an_error_that_says_why(
    shop: Workshop, module: Path, package: str, name: str, form: str, kind: str
) -> None:
    with pytest.raises(ToolchainError) as caught:
        fill.fill(shop, Place(module), [(package, name)], form=form)
    assert caught.value.data["kind"] == kind
    assert kind != "compile_error" or "undefined: nowhere" in caught.value.message


@pytest.mark.parametrize("package", ["-toolexec=sh", "./...", "x@latest", ""])
def test_what_go_could_take_for_something_else_is_refused(package: str, tmp_path: Path) -> None:
    shop = Workshop(lambda: pytest.fail("no Go is needed"), tmp_path, (), Cancel())
    with pytest.raises(InvalidParams):
        fill.fill(shop, Place(tmp_path), [(package, "T")])
    with pytest.raises(InvalidParams):
        typedef.typedef(shop, Place(tmp_path), package, "T")


def test_code_is_made_in_one_of_three_forms(tmp_path: Path) -> None:
    shop = Workshop(lambda: pytest.fail("no Go is needed"), tmp_path, (), Cancel())
    with pytest.raises(InvalidParams, match="poem"):
        fill.fill(shop, Place(tmp_path), [("errors", "T")], form="poem")


# What a type is made of


@pytest.mark.go
def test_a_definition_has_all_that_the_type_leads_to(shop: Workshop, own: Path) -> None:
    found = typedef.typedef(shop, Place(own), ".", "Order")
    kinds = {each.name: each for each in found.types}
    assert found.types[0].name == "Order"
    assert {"customer", "Line", "Status", "Level", "time.Time", "url.URL", "url.Userinfo", "error"} - {*kinds} == {
        "error"
    }
    assert kinds["Status"].constants == ("Open = 1", "Closed = 2", "Gone = 9")
    assert kinds["Level"].constants == ('High = "high"', 'Low = "low"')
    assert kinds["Order"].recursive and not kinds["Line"].recursive
    assert kinds["url.Userinfo"].hidden == 3
    assert "func url.UserPassword(username string, password string) *url.Userinfo" in kinds["url.Userinfo"].constructors
    first = kinds["Order"].fields[0]
    assert (first.name, first.type, first.tag, first.kind, first.exported) == (
        "ID",
        "int64",
        'json:"id"',
        "int64",
        True,
    )
    assert found.imports() == ["context", "io", "net/url", "time"]
    assert '\tID int64 `json:"id"`\n' in found.text()


@pytest.mark.go
def test_who_implements_an_interface_is_told(shop: Workshop, own: Path) -> None:
    found = typedef.typedef(shop, Place(own), ".", "Drawing")
    shape = next(each for each in found.types if each.name == "Shape")
    assert (shape.implementers, shape.underlying) == (("Circle", "Embeds", "*Square"), "interface{Area() float64}")


@pytest.mark.go
def test_a_definition_ends_after_three_steps_and_sixty_types(shop: Workshop, own: Path) -> None:
    found = typedef.typedef(shop, Place(own), "go/ast", "File")
    assert len(found.types) <= 60
    assert found.types[0].pos.startswith("/") and ":" in found.types[0].pos
    with pytest.raises(ToolchainError, match="no type"):
        typedef.typedef(shop, Place(own), "go/ast", "Fil")
