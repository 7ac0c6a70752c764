package runtime_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// counting counts 300 records of one key in a struct of the program's, and goes on
// where it was each time.
func counting[S any](out string, next func(S) S) *topology.Builder {
	b := topology.New("counting")
	all := topology.KeyBy(topology.From(b, "in", sources.Generator(func(i int64) int64 { return i }, sources.Count(300))),
		"all", func(int64) string { return "" })
	topology.To(topology.Fold(all, "count", func(_ string, s S, _ int64) S { return next(s) }), "out", sinks.JSONLines[S](out))
	return b
}

// TestAStateWhoseFieldsHaveChanged resumes where nothing is lost, and is refused with
// the difference where something would be: never as damage, and never silently.
func TestAStateWhoseFieldsHaveChanged(t *testing.T) {
	// Each has a type of its own, and all of them one name.
	was := func(out string) *topology.Builder {
		type state struct {
			N    int64
			Last string
		}
		return counting(out, func(s state) state { s.N++; return s })
	}
	for name, change := range map[string]struct {
		topology func(out string) *topology.Builder
		want     string
	}{
		"added": {func(out string) *topology.Builder {
			type state struct {
				N    int64
				Last string
				More []int
			}
			return counting(out, func(s state) state { return s })
		}, ""},
		"removed": {func(out string) *topology.Builder {
			type state struct{ N int64 }
			return counting(out, func(s state) state { return s })
		}, ""},
		"pointer": {func(out string) *topology.Builder {
			type state struct{ N *int64 }
			return counting(out, func(s state) state { return s })
		}, ""},
		"narrowed": {func(out string) *topology.Builder {
			type state struct{ N int8 }
			return counting(out, func(s state) state { return s })
		}, "N was int64 and is int8"},
		"unsigned": {func(out string) *topology.Builder {
			type state struct{ N uint64 }
			return counting(out, func(s state) state { return s })
		}, "N was int64 and is uint64"},
		"other": {func(out string) *topology.Builder {
			type state struct{ N string }
			return counting(out, func(s state) state { return s })
		}, "N was int64 and is string"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := within(t), t.TempDir()
			out, e := filepath.Join(dir, "out.ndjson"), open(t, filepath.Join(dir, "data"))
			defer closeEngine(t, e)
			if _, err := e.Run(ctx, was(out)); err != nil {
				t.Fatal(err)
			}
			r, err := e.Run(ctx, change.topology(out), runtime.ReplayFromBeginning())
			if change.want == "" {
				if err != nil || r.Resumed == nil {
					t.Fatalf("resumed from %v, %v", r.Resumed, err)
				}
				return
			}
			var bad *runtime.IncompatibleError
			if !errors.As(err, &bad) || len(bad.Diff.Changed) != 1 || !strings.Contains(err.Error(), change.want) {
				t.Fatalf("%v does not say %q", err, change.want)
			}
		})
	}
}

// TestStateThatATypeCannotTakeIsNoDamage: a field that was removed comes back as
// something else, while what is stored of keys that were not touched since still has
// it. No older checkpoint helps, and no backup.
func TestStateThatATypeCannotTakeIsNoDamage(t *testing.T) {
	r := newRig(t)
	out := filepath.Join(r.dir, "out.ndjson")
	was := func() *topology.Builder {
		type state struct{ N int64 }
		return counting(out, func(s state) state { s.N++; return s })
	}
	without := func() *topology.Builder {
		type state struct{ M int64 }
		return counting(out, func(s state) state { return s })
	}
	other := func() *topology.Builder {
		type state struct{ N string }
		return counting(out, func(s state) state { return s })
	}
	if _, err := r.run(was()); err != nil {
		t.Fatal(err)
	}
	// All is read already: nothing of the state is written anew.
	if _, err := r.run(without(), runtime.ReplayFromOffset(300)); err != nil {
		t.Fatal(err)
	}
	log := r.log
	_, err := r.run(other(), runtime.ReplayFromBeginning())
	var state *dataflow.StateError
	if !errors.As(err, &state) || state.Operator != "count" {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{`operator "count"`, "state", "FreshState", "another name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "backup") || strings.Contains(err.Error(), "corrupt") || log.count(slog.LevelError, "falling back") > 0 {
		t.Errorf("it is taken for damage: %v", err)
	}
}
