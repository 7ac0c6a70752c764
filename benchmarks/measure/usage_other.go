//go:build !unix

package measure

import "time"

// processorTime is not measured here, and reported as 0.
func processorTime() time.Duration { return 0 }
