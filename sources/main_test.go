package sources

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write puts a file into a directory of the test and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads a split to its end and returns the records and the errors of
// single records, in order.
func readAll[T any](t *testing.T, s topology.Source[T], r topology.OpenRequest) (values []T, flawed []*topology.RecordError) {
	t.Helper()
	reader, err := s.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	values, flawed, err = rest(t.Context(), reader)
	if err != nil {
		t.Fatal(err)
	}
	return values, flawed
}

func rest[T any](ctx context.Context, r topology.SourceReader[T]) (values []T, flawed []*topology.RecordError, err error) {
	for {
		b := new(topology.Batch[T])
		err := r.Read(ctx, b, 100)
		values = append(values, b.Values...)
		if flaw, ok := err.(*topology.RecordError); ok {
			flawed = append(flawed, flaw)
		} else if err != nil {
			if err.Error() == "EOF" {
				err = nil
			}
			return values, flawed, err
		}
	}
}

// openError returns the error of opening a split.
func openError[T any](t *testing.T, s topology.Source[T], r topology.OpenRequest) string {
	t.Helper()
	reader, err := s.Open(t.Context(), r)
	if err == nil {
		reader.Close()
		t.Fatalf("the source was opened at %+v", r)
	}
	return err.Error()
}

// positionAfter reads n records and returns the position behind them.
func positionAfter[T any](t *testing.T, s topology.Source[T], split string, n int) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), topology.OpenRequest{Split: split})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := new(topology.Batch[T])
	for b.Len() < n {
		if err := r.Read(t.Context(), b, n-b.Len()); err != nil {
			t.Fatal(err)
		}
	}
	return r.Position()
}
