package topics

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/troupestream/troupe/actor"
)

// position is where a job is in a partition: the offset of the next record, in one
// incarnation of the topic. It is stored as "17@4", and by releases that did not note
// incarnations as "17".
type position struct{ offset, incarnation uint64 }

func (p position) bytes() []byte {
	b := strconv.AppendUint(nil, p.offset, 10)
	if p.incarnation == 0 {
		return b
	}
	return strconv.AppendUint(append(b, '@'), p.incarnation, 10)
}

func parsePosition(text []byte) (p position, err error) {
	offset, incarnation, noted := strings.Cut(string(text), "@")
	if p.offset, err = strconv.ParseUint(offset, 10, 64); err == nil && noted {
		p.incarnation, err = strconv.ParseUint(incarnation, 10, 64)
	}
	if err != nil {
		return position{}, fmt.Errorf("the checkpoint's position %.40q is not an offset; start the job afresh", text)
	}
	return p, nil
}

// in says whether it is a position in a topic, or in one that had its name before.
func (p position) in(t *actor.Topic) error {
	if p.incarnation == 0 || p.incarnation == t.Incarnation() {
		return nil
	}
	return fmt.Errorf("the checkpoint's position, offset %d, was in another topic of this name, and that is gone: this one was made anew since. "+
		"Read it with ReplayFromBeginning, or start the job afresh", p.offset)
}
