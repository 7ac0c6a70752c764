//go:build !unix

package measure

import "time"

// ProcessorTime is not measured here, and reported as 0.
func ProcessorTime() time.Duration { return 0 }
