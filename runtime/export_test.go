package runtime

import "github.com/troupestream/troupe/internal/storage"

// Store makes an engine use a store of the test's.
func Store(s storage.Store) Option {
	return func(c *config) { c.engine.store, c.touched = s, true }
}
