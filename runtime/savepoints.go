package runtime

import (
	"context"

	"github.com/troupestream/troupe/internal/snapshots"
)

// ErrNoSavepoint: the job has no savepoint of that name.
var ErrNoSavepoint = snapshots.ErrNoSavepoint

// Savepoints lists the savepoints of a job, sorted by name. The job need not run.
// Those that cannot be read are left out, and the error says why.
func (e *Engine) Savepoints(ctx context.Context, job string) ([]Checkpoint, error) {
	found, err := snapshots.Savepoints(ctx, e.store, job)
	all := make([]Checkpoint, 0, len(found))
	for _, m := range found {
		all = append(all, *describe(m))
	}
	return all, err
}

// DeleteSavepoint deletes a savepoint of a job, or ErrNoSavepoint. The job need not
// run. One that a job is being restored from is not missed once that has completed
// a checkpoint.
func (e *Engine) DeleteSavepoint(ctx context.Context, job, name string) error {
	return snapshots.DeleteSavepoint(ctx, e.store, job, name)
}
