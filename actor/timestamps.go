package actor

import (
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
)

// Timestamps says which time the records of a topic have.
type Timestamps uint8

// The timestamps there are.
const (
	// CreateTime: the one that their producer gives them, or none.
	CreateTime Timestamps = iota
	// LogAppendTime: that of the partition's clock when it appends them, in
	// milliseconds, whatever their producer gives them. It never runs backwards
	// within a partition, and is the time that Reader, retention and lookup by time
	// go by in any case. A record that is sent again keeps its first time. Where the
	// setting is altered, it is for what is appended from then on.
	LogAppendTime
)

var timestampNames = map[Timestamps]string{CreateTime: "create", LogAppendTime: "append"}

// String is "create" or "append".
func (t Timestamps) String() string {
	if name := timestampNames[t]; name != "" {
		return name
	}
	return fmt.Sprintf("timestamps %d", uint8(t))
}

func storedTimestampsOf(t Timestamps) string {
	if t == CreateTime {
		return ""
	}
	return timestampNames[t]
}

// add adds a record to a section, with room for the time that the partition gives it.
func (c *TopicConfig) add(s *codec.Section, r *Record) {
	if c.Timestamps == LogAppendTime {
		timed := *r
		timed.Time = 0
		r = &timed
	}
	s.Add(r)
}

// appendTimes gives all records of a batch the time at which it is appended. The
// producers' sections stay as they are: they may be sent again.
func (f *flight) appendTimes() error {
	sections := f.sections[:0:0]
	for i := range f.sections {
		s, err := f.sections[i].At(f.info.AppendTime)
		if err != nil {
			return err
		}
		sections = append(sections, s)
	}
	f.sections = sections
	return nil
}
