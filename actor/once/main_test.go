package once

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type engine struct{ sys *actor.System }

func (e engine) System() *actor.System { return e.sys }

// tb is what tests and rapid's have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Error(args ...any)
	Cleanup(func())
}

func newEngine(t tb) engine {
	store := storagefake.New()
	sys := actor.NewSystem(store)
	t.Cleanup(func() {
		if err := sys.Close(context.Background()); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return engine{sys}
}

// open opens the ledger "charges".
func open(t tb, e engine, o Options) *Ledger[string] {
	t.Helper()
	l, err := Open[string](context.Background(), e, "charges", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) }) // one that was shut out says so
	return l
}
