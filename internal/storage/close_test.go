package storage_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/internal/storage"
)

// A store that is closed while logs are being made leaves nobody at work in its directory,
// and each log that was made is there the next time.
func TestCloseWhileLogsAreMade(t *testing.T) {
	for round := range 4 {
		dir := filepath.Join(t.TempDir(), "data")
		s := quietly(t, dir)
		made := make(chan string, 1024)
		var makers sync.WaitGroup
		for m := range 4 {
			makers.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("log-%d-%d", m, i)
					_, err := s.OpenLog(t.Context(), name, storage.LogOptions{})
					if errors.Is(err, storage.ErrClosed) {
						return
					}
					if err == nil {
						made <- name
					}
				}
			})
		}
		want := map[string]bool{}
		for range 1 + 7*round {
			want[<-made] = true
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		makers.Wait()
		if err := goleak.Find(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s = quietly(t, dir)
		there := logs(t, s)
		for _, name := range there {
			delete(want, name)
		}
		if len(want) > 0 {
			t.Errorf("round %d: of %d logs, these are not there: %v", round, len(there), want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
