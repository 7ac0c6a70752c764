package queues

import (
	"errors"
	"strings"
	"testing"

	"github.com/troupestream/troupe/actor"
)

// A queue that could not decode what its exchange is given is refused, and is not there.
func TestAQueueReadsWhatItsExchangeStores(t *testing.T) {
	ctx, e := newEngine(t)
	_, err := Of[order]("msgpack").From(orders, "#").Declare(ctx, e)
	if !errors.Is(err, actor.ErrInvalid) {
		t.Fatal(err)
	}
	for _, part := range []string{"queue msgpack", "as msgpack", `exchange "orders"`, "as json", "AsJSON"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := e.System().Queue(ctx, "msgpack"); !errors.Is(err, actor.ErrNoQueue) {
		t.Errorf("the queue: %v", err)
	}
	q := Of[order]("json").AsJSON().From(orders, "#")
	c := must[*Consumer[order]](t)(q.Subscribe(ctx, e, Name("mailer")))
	if id := c.ID(); !strings.HasPrefix(id, "mailer-") {
		t.Errorf("it is %s", id)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}
