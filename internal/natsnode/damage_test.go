package natsnode

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/natsnode/blocks/blockstest"
)

func openTable(t testing.TB, dir string) *ackedTable {
	t.Helper()
	table, _, err := openAcked(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Whatever is noted, in any order and over any number of restarts, is there
// afterwards, and nothing else is.
func TestAckedTableRemembers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		type limits struct{ last, floor uint64 }
		model := map[string]limits{}
		table := openTable(t, dir)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			name := "log-" + rapid.StringMatching(`[a-d]{1,2}`).Draw(rt, "name")
			m, known := model[name]
			switch rapid.SampledFrom([]string{"begin", "acked", "trim", "forget", "reopen"}).Draw(rt, "step") {
			case "begin":
				table.begin(name, 3, 2)
				if !known {
					model[name] = limits{3, 2}
				}
			case "acked":
				seq := rapid.Uint64Range(0, 50).Draw(rt, "seq")
				if table.find(name).Acked(seq); known {
					model[name] = limits{max(m.last, seq), m.floor}
				}
			case "trim":
				before := rapid.Uint64Range(0, 50).Draw(rt, "before")
				if err := table.find(name).Trimming(before); err != nil {
					rt.Fatal(err)
				}
				if known {
					model[name] = limits{m.last, max(m.floor, before)}
				}
			case "forget":
				table.forget(name)
				delete(model, name)
			case "reopen":
				if err := table.close(); err != nil {
					rt.Fatal(err)
				}
				table = openTable(t, dir)
			}
		}
		if err := table.close(); err != nil {
			rt.Fatal(err)
		}
		table = openTable(t, dir)
		defer table.close()
		found := map[string]limits{}
		for _, w := range table.all() {
			last, floor := w.limits()
			found[w.name] = limits{last, floor}
		}
		if len(found) != len(model) {
			rt.Fatalf("there are %v, want %v", found, model)
		}
		for name, m := range model {
			if found[name] != m {
				rt.Fatalf("%s has %v, want %v", name, found[name], m)
			}
		}
	})
}

// A slot that is damaged is one log less that can be checked, and no lie.
func TestDamagedSlotSaysNothing(t *testing.T) {
	dir := t.TempDir()
	table := openTable(t, dir)
	for _, name := range []string{"a", "b", "c"} {
		table.begin(name, 7, 1)
	}
	slot := table.find("b").slot
	if err := table.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ackedTabName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[slot*slotBytes+9] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	table = openTable(t, dir)
	defer table.close()
	if table.find("a").Last() != 7 || table.find("b") != nil || table.find("c").Last() != 7 {
		t.Errorf("%+v", table.all())
	}
}

// A handle that outlived its log cannot write into the slot of another.
func TestForgottenWitnessIsSilent(t *testing.T) {
	table := openTable(t, t.TempDir())
	defer table.close()
	old := table.begin("old", 1, 1)
	old.Acked(2)
	table.forget("old")
	fresh := table.begin("fresh", 5, 1)
	old.Acked(9)
	table.note()
	if fresh.slot != old.slot {
		t.Fatal("the slot was not handed out again")
	}
	if table = openTable(t, filepath.Dir(table.f.Name())); table.find("fresh").Last() != 5 || table.find("old") != nil {
		t.Errorf("%+v", table.all())
	}
	table.close()
}

// inspectedServer is a server that has looked at a directory with one log of three
// entries, and was told before that last were acknowledged.
func inspectedServer(t *testing.T, last uint64, f func(s *Server, block string)) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), syncAlways: true, opts: Options{Logger: slog.New(slog.DiscardHandler)}}
	s.acked = openTable(t, s.dir)
	t.Cleanup(func() { s.acked.close() })
	msgs := filepath.Join(s.streamDir("a"), "msgs")
	if err := os.MkdirAll(msgs, 0o700); err != nil {
		t.Fatal(err)
	}
	var b []byte
	for seq := range uint64(3) {
		b = blockstest.Message(b, "a", 1, seq+1, []byte("abc"))
	}
	block := filepath.Join(msgs, "1.blk")
	for path, b := range map[string][]byte{block: b, filepath.Join(msgs, "..", "meta.inf"): nil, filepath.Join(msgs, "..", "meta.sum"): nil} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.acked.begin("a", last, 1)
	if f(s, block); t.Failed() {
		t.FailNow()
	}
	if err := s.inspect(); err != nil {
		t.Fatal(err)
	}
	return s
}

// What a power cut takes from a log that is synced at intervals is no damage, as
// long as it is the end. With the same machine running it is.
func TestPowerCut(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for what, f := range map[string]func(block string) error{
			"the end": func(string) error { return nil },
			"all":     func(b string) error { return os.Truncate(b, 0) },
			"the log": func(b string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(b))) },
		} {
			s := inspectedServer(t, 5, func(s *Server, block string) {
				s.lostSync = lost
				if err := f(block); err != nil {
					t.Error(err)
				}
			})
			if damaged := s.Damage("a") != nil; damaged == lost {
				t.Errorf("%s is lost, power cut %v: damaged %v", what, lost, damaged)
			}
			if err := s.inspect(); err != nil || lost && s.Damage("a") != nil {
				t.Errorf("%s is lost, the second time: %v, %v", what, s.Damage("a"), err)
			}
		}
	}
}

// A damaged log is out of the server's sight while that runs, and where it was
// before and after.
func TestDamagedLogIsPutAside(t *testing.T) {
	s := inspectedServer(t, 4, func(*Server, string) {})
	aside := filepath.Join(s.asideDir(), "a")
	if exists(s.streamDir("a")) || !exists(aside) {
		t.Error("it is where the server finds it")
	}
	if names, err := s.OnDisk(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("the logs are %v, %v", names, err)
	}
	if err := s.inspect(); err != nil || s.Damage("a") == nil { // as after a kill
		t.Errorf("%v, %v", s.Damage("a"), err)
	}
	if err := os.MkdirAll(s.streamDir("a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.bringBack(); err == nil || !strings.Contains(err.Error(), aside) {
		t.Errorf("two of one log: %v", err)
	}
	if err := errors.Join(os.Remove(s.streamDir("a")), s.bringBack()); err != nil || exists(s.asideDir()) {
		t.Errorf("bring back: %v", err)
	}
}

// A deletion that was interrupted anywhere leaves no damage behind.
func TestInterruptedDeletion(t *testing.T) {
	for what, f := range map[string]func(block string) error{
		"before":       func(string) error { return nil },
		"half-deleted": func(b string) error { return os.Remove(filepath.Join(filepath.Dir(b), "..", "meta.inf")) },
		"after":        func(b string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(b))) },
	} {
		s := inspectedServer(t, 3, func(s *Server, block string) {
			if err := errors.Join(s.Deleting("a"), f(block)); err != nil {
				t.Error(err)
			}
		})
		if d := s.Damage("a"); d != nil || exists(s.streamDir("a")) != (what == "before") {
			t.Errorf("%s: %v", what, d)
		}
	}
}
