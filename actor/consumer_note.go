package actor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// consumerNote is what an owner of a partition leaves to the next one, as the
// metadata of a commit: up to where records were handed out beyond the committed
// offset, and why they will be delivered again. An owner that leaves in good order
// says Rebalance with its last commit; what is found after a crash is the note of a
// commit before.
type consumerNote struct {
	cause  Cause
	handed uint64
}

// String is "crash 17", say: records before offset 17 were handed out.
func (n consumerNote) String() string {
	if n.handed == 0 {
		return ""
	}
	return fmt.Sprintf("%s %d", n.cause, n.handed)
}

// parseNote reads a note. Metadata that is none says nothing.
func parseNote(text string) consumerNote {
	word, number, _ := strings.Cut(text, " ")
	handed, err := strconv.ParseUint(number, 10, 64)
	cause := slices.Index(causes[:], word)
	if err != nil || cause <= 0 {
		return consumerNote{}
	}
	return consumerNote{Cause(cause), handed}
}
