package storage_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagetest"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		dir := filepath.Join(t.TempDir(), "data")
		return func() (storage.Store, error) { return storage.Open(t.Context(), dir, storage.Options{}) }
	})
}
