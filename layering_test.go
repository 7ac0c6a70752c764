package troupe_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/troupestream/troupe"

// wirePackage is how the pure cores put what they store into bytes.
const wirePackage = "internal/wire"

// pure are the packages that hold logic alone: state and messages in, state and
// effects out. They import nothing but the standard library and wirePackage.
var pure = []string{"internal/checkpoint", "internal/compaction", "internal/envelope", "internal/flow", "internal/group", "internal/inflight", "internal/keygroup",
	"internal/partitioner", "internal/queue", "internal/retrybudget", "internal/routing", "internal/watermark", "internal/window", wirePackage}

// layer says what of this module a directory, and what lies below it, may import.
type layer struct {
	dir string
	may []string
}

// layers is the table that keeps imports pointing one way. The longest entry
// that matches counts.
var layers = append(each(pure, []string{wirePackage}), []layer{
	{"internal/codec", nil},
	{"internal/dataflow", append([]string{"internal/codec"}, pure...)},
	{"internal", []string{"internal"}},
	{"topology", append([]string{"topology", "internal/codec", "internal/dataflow"}, pure...)},
	{"actor", []string{"actor", "topology", "internal"}},
	{"sources", []string{"sources", "actor", "topology", "internal"}},
	{"sinks", []string{"sinks", "actor", "topology", "internal"}},
	{"runtime", []string{"runtime", "actor", "topology", "internal"}},
	{"cmd", []string{""}},
	{"examples", []string{""}},
	{"benchmarks", []string{""}},
}...)

func each(dirs []string, may []string) []layer {
	var out []layer
	for _, d := range dirs {
		out = append(out, layer{d, may})
	}
	return out
}

// home says where of this module a third-party module may be imported.
type home struct {
	module string
	dirs   []string
	tests  bool // also in tests, anywhere
}

// homes lists every third-party module. The longest entry that matches counts.
var homes = []home{
	{"github.com/asynkron/protoactor-go", []string{"actor", "runtime"}, false},
	{"github.com/nats-io/nats.go", []string{"internal/storage"}, false},
	{"github.com/nats-io/nats-server/v2", []string{"internal/natsnode"}, false},
	{"github.com/minio/highwayhash", []string{"internal/natsnode"}, false}, // the hash of the server's records
	{"github.com/vmihailenco/msgpack/v5", []string{"internal/codec"}, false},
	{"github.com/klauspost/compress", []string{"internal/codec"}, false},
	{"github.com/cespare/xxhash/v2", []string{"internal/codec"}, false},
	{"go.opentelemetry.io/otel", []string{"internal/telemetry", "actor", "runtime"}, false}, // the API
	{"go.opentelemetry.io/otel/sdk", []string{"internal/telemetry"}, true},
	{"go.opentelemetry.io/otel/exporters", []string{"internal/telemetry"}, false},
	{"go.opentelemetry.io/contrib", []string{"internal/telemetry"}, false},
	{"github.com/prometheus", []string{"internal/telemetry"}, false},
	{"github.com/robfig/cron/v3", []string{"actor"}, false}, // its parser
	{"golang.org/x/sys", []string{"internal/natsnode"}, false},
	{"golang.org/x/term", []string{"runtime", "cmd"}, false},
	{"pgregory.net/rapid", nil, true},
	{"go.uber.org/goleak", nil, true},
}

// aliases are the names of packages whose own names collide with ours.
var aliases = map[string]string{"runtime": "goruntime", "github.com/asynkron/protoactor-go/actor": "pactor"}

// imported is one import declaration.
type imported struct {
	dir  string // of the file, from the root of the module
	test bool   // in a test, or in a package made for tests
	path string
	as   string // the name given to it
}

// broken returns the rule that an import breaks, or "".
func (i imported) broken() string {
	if want, ok := aliases[i.path]; ok && i.as != want {
		return fmt.Sprintf("import it as %s: its own name is also that of a package here", want)
	}
	if rest, ours := strings.CutPrefix(i.path, module); ours {
		return i.brokenLayer(strings.TrimPrefix(rest, "/"))
	}
	if first, _, _ := strings.Cut(i.path, "/"); strings.Contains(first, ".") {
		return i.brokenHome()
	}
	return ""
}

func (i imported) brokenLayer(target string) string {
	if i.test {
		return "" // a test may look at its package from above
	}
	l, ok := longest(layers, i.dir, func(l layer) string { return l.dir })
	if !ok {
		return fmt.Sprintf("directory %q has no place in the table of layers: give it one", i.dir)
	}
	if under(target, i.dir) || slices.ContainsFunc(l.may, func(d string) bool { return under(target, d) }) {
		return ""
	}
	if slices.Contains(pure, l.dir) || len(l.may) == 0 {
		return fmt.Sprintf("%s is a pure core and imports the standard library only, and %s", l.dir, wirePackage)
	}
	return fmt.Sprintf("imports point one way: %s may import %s", l.dir, strings.Join(l.may, ", "))
}

func (i imported) brokenHome() string {
	h, ok := longest(homes, i.path, func(h home) string { return h.module })
	switch {
	case !ok:
		return "this third-party module has no home in the table: does it need to be there?"
	case h.tests && i.test, slices.ContainsFunc(h.dirs, func(d string) bool { return under(i.dir, d) }):
		return ""
	case h.dirs == nil:
		return h.module + " is for tests only"
	default:
		return fmt.Sprintf("the home of %s is %s", h.module, strings.Join(h.dirs, ", "))
	}
}

// under says whether a path is dir or lies below it; all lie below "".
func under(p, dir string) bool { return dir == "" || p == dir || strings.HasPrefix(p, dir+"/") }

func longest[T any](table []T, p string, name func(T) string) (best T, ok bool) {
	for _, t := range table {
		if under(p, name(t)) && (!ok || len(name(t)) > len(name(best))) {
			best, ok = t, true
		}
	}
	return best, ok
}

func TestLayering(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(name, ".") || name == "testdata" || ownModule(file)):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"):
			files++
			return checkFile(t, filepath.ToSlash(file))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were looked at", files)
	}
}

// ownModule says whether a directory has dependencies of its own.
func ownModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func checkFile(t *testing.T, file string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	dir := path.Dir(file)
	test := strings.HasSuffix(file, "_test.go") || strings.HasSuffix(path.Base(dir), "test")
	for _, spec := range f.Imports {
		i := imported{dir: dir, test: test}
		if i.path, err = strconv.Unquote(spec.Path.Value); err != nil {
			return err
		}
		if spec.Name != nil {
			i.as = spec.Name.Name
		}
		if rule := i.broken(); rule != "" {
			t.Errorf("%s imports %q: %s", file, i.path, rule)
		}
	}
	return nil
}

// TestLayeringCatches is the test of the test.
func TestLayeringCatches(t *testing.T) {
	const nats = "github.com/nats-io/nats.go/jetstream"
	const pactor = "github.com/asynkron/protoactor-go/actor"
	for _, c := range []struct {
		i    imported
		rule string // part of the message; "" when the import is fine
	}{
		{imported{dir: "actor", path: module + "/topology"}, ""},
		{imported{dir: "topology", path: module + "/actor"}, "imports point one way"},
		{imported{dir: "topology/topologytest", path: module + "/internal/telemetry"}, "imports point one way"},
		{imported{dir: "topology", path: module + "/internal/watermark"}, ""},
		{imported{dir: "sources", path: module + "/sinks"}, "imports point one way"},
		{imported{dir: "sources", path: module + "/sinks", test: true}, ""},
		{imported{dir: "sources", path: module + "/runtime"}, "imports point one way"},
		{imported{dir: "internal/storage", path: module + "/actor"}, "imports point one way"},
		{imported{dir: "internal/flow", path: module + "/internal/dataflow"}, "pure core"},
		{imported{dir: "internal/flow/flowmodel", path: module + "/internal/flow/flowmodel/x"}, ""},
		{imported{dir: "internal/flower", path: module + "/internal/flow"}, ""},
		{imported{dir: "examples/quakes", path: module + "/runtime"}, ""},
		{imported{dir: "plugins", path: module + "/runtime"}, "no place in the table"},
		{imported{dir: "actor", path: nats}, "the home of github.com/nats-io/nats.go is internal/storage"},
		{imported{dir: "actor", path: nats, test: true}, "the home of"},
		{imported{dir: "internal/storage/jetstream", path: nats}, ""},
		{imported{dir: "actor", path: "github.com/somebody/leftpad"}, "no home"},
		{imported{dir: "actor", path: "pgregory.net/rapid"}, "tests only"},
		{imported{dir: "actor", path: "pgregory.net/rapid", test: true}, ""},
		{imported{dir: "actor", path: "go.opentelemetry.io/otel/trace"}, ""},
		{imported{dir: "actor", path: "go.opentelemetry.io/otel/sdk/trace"}, "the home of go.opentelemetry.io/otel/sdk"},
		{imported{dir: "actor", path: "go.opentelemetry.io/otel/sdk/trace", test: true}, ""},
		{imported{dir: "topology", path: "go.opentelemetry.io/otel/trace"}, "the home of"},
		{imported{dir: "actor", path: pactor, as: "pactor"}, ""},
		{imported{dir: "actor", path: pactor}, "import it as pactor"},
		{imported{dir: "sources", path: pactor, as: "pactor"}, "the home of"},
		{imported{dir: "actor", path: "runtime"}, "import it as goruntime"},
		{imported{dir: "actor", path: "runtime", as: "goruntime"}, ""},
		{imported{dir: "actor", path: "runtime/debug"}, ""},
	} {
		if rule := c.i.broken(); (rule == "") != (c.rule == "") || !strings.Contains(rule, c.rule) {
			t.Errorf("%s importing %s as %q: rule %q, want %q", c.i.dir, c.i.path, c.i.as, rule, c.rule)
		}
	}
}
