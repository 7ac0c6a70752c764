package actor

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// DefaultRetention is how long topics keep records unless told otherwise: a
// week after their arrival.
const DefaultRetention = 7 * 24 * time.Hour

// DeadLetterRetention is how long dead letters are kept whose topic was not
// declared otherwise.
const DeadLetterRetention = 30 * 24 * time.Hour

// DefaultRetentionEvery is how often partitions look for records to drop.
const DefaultRetentionEvery = 30 * time.Second

// Retention says what each partition of a topic keeps, whether or not anybody has
// read it. What exceeds any of the limits is dropped from the beginning, batch by
// batch, within DefaultRetentionEvery. The zero value is DefaultRetention.
type Retention struct {
	// Age is how long records are kept after they have arrived, in whole
	// milliseconds. It is not about
	// event time: what arrives late is kept as long.
	Age time.Duration
	// Bytes is how much is kept, as stored, in each partition.
	Bytes int64
	// Records is how many are kept in each partition, and what else is in the
	// batch of the oldest.
	Records int64
	// Forever keeps everything: growth without limit has to be asked for.
	Forever bool
}

func (r Retention) withDefault() Retention {
	if r == (Retention{}) {
		r.Age = DefaultRetention
	}
	if r.Age > time.Millisecond {
		r.Age = r.Age.Truncate(time.Millisecond)
	}
	return r
}

func (r Retention) check() error {
	switch {
	case r.Age < 0 || r.Bytes < 0 || r.Records < 0:
		return errors.New("a retention cannot be negative")
	case r.Age > 0 && r.Age < time.Millisecond:
		return fmt.Errorf("a retention of %v: it must be a millisecond or more", r.Age)
	case r.Forever && r != Retention{Forever: true}:
		return errors.New("a retention with limits is not for ever: leave Forever out, or the limits")
	}
	return nil
}

// String is "168h0m0s", "1000 records or 1048576 bytes", "forever".
func (r Retention) String() string {
	var all []string
	if r.Age > 0 {
		all = append(all, r.Age.String())
	}
	if r.Records > 0 {
		all = append(all, fmt.Sprintf("%d records", r.Records))
	}
	if r.Bytes > 0 {
		all = append(all, fmt.Sprintf("%d bytes", r.Bytes))
	}
	if all == nil {
		return "forever"
	}
	return strings.Join(all, " or ")
}
