package storagefake_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		s := storagefake.New()
		return func() (storage.Store, error) {
			s = s.Restart()
			return s, nil
		}
	})
}

func open(t *testing.T) (*storagefake.Store, storage.Log) {
	t.Helper()
	s := storagefake.New()
	l, err := s.OpenLog(t.Context(), "a", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func last(t *testing.T, l storage.Log) uint64 {
	t.Helper()
	b, err := l.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b.Last
}

func TestFaults(t *testing.T) {
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		fault storagefake.Fault
		err   error
		last  uint64
	}{
		"none":         {storagefake.Fault{}, nil, 1},
		"refused":      {storagefake.Fault{Err: mine}, mine, 0},
		"lost reply":   {storagefake.Fault{LoseReply: true}, storage.ErrUnknown, 1},
		"lost request": {storagefake.Fault{LoseRequest: true}, storage.ErrUnknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := open(t)
			s.OnAppend(func(a storagefake.Append) storagefake.Fault {
				if a.N == 1 && a.Log == "a" && a.Kind == storage.Epoch && string(a.Data) == "x" && a.Expect == 0 {
					return c.fault
				}
				return storagefake.Fault{}
			})
			if _, err := l.Append(t.Context(), storage.Epoch, []byte("x"), 0); !errors.Is(err, c.err) {
				t.Errorf("err = %v", err)
			}
			if got := last(t, l); got != c.last {
				t.Errorf("last = %d, want %d", got, c.last)
			}
			if _, err := l.Append(t.Context(), storage.Data, nil, c.last); err != nil {
				t.Errorf("the append after it: %v", err)
			}
		})
	}
}

// An append that is under way when its writer gives up may still arrive, and
// then meets the fence.
func TestHeldAppendArrivesLate(t *testing.T) {
	s, l := open(t)
	hold, asked := make(chan struct{}), make(chan struct{}, 1)
	s.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.N > 1 {
			return storagefake.Fault{}
		}
		asked <- struct{}{}
		return storagefake.Fault{Hold: hold}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := l.Append(ctx, storage.Data, []byte("held"), 0)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, storage.ErrUnknown) || last(t, l) != 0 {
		t.Errorf("given up: %v", err)
	}
	if _, err := l.Append(t.Context(), storage.Epoch, []byte("marker"), 0); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if _, err := l.Append(t.Context(), storage.Data, []byte("2"), 1); err != nil || last(t, l) != 2 {
		t.Errorf("after the fence: %v", err)
	}
}

func TestFullAndCorrupt(t *testing.T) {
	s, l := open(t)
	s.SetFull(true)
	if _, err := l.Append(t.Context(), storage.Data, []byte("abc"), 0); !errors.Is(err, storage.ErrFull) {
		t.Errorf("err = %v", err)
	}
	s.SetFull(false)
	if _, err := l.Append(t.Context(), storage.Data, []byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Corrupt("a", 1, func(b []byte) []byte { b[1] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	if es, err := l.Read(t.Context(), 1, 10); err != nil || string(es[0].Data) != "acc" {
		t.Errorf("%v, %v", es, err)
	}
	if err := s.Corrupt("a", 2, nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("err = %v", err)
	}
}
