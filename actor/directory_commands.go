package actor

import (
	"github.com/troupestream/troupe/internal/routing"
)

// command changes the directory. It is journalled, and applied once it is durable, then
// and after every restart: with the same outcome, which may be an error. So ids are in
// the command, and nothing in apply looks at anything but the directory.
type command interface {
	op() string // its name in the journal
	apply(d *queueDirectory) (answer any, err error)
}

// numbered is a command that needs ids.
type numbered interface{ assign(next *ids) }

func take(next *uint32) uint32 {
	*next++
	return *next - 1
}

// The commands.
type (
	// declareExchange is answered with the *exchangeInfo.
	declareExchange struct {
		Name   string         `json:"name"`
		Number uint32         `json:"number"`
		Config ExchangeConfig `json:"config"`
	}
	deleteExchange struct {
		Name     string `json:"name"`
		IfUnused bool   `json:"if_unused,omitempty"`
	}
	// declareQueue is answered with the *queueInfo.
	declareQueue struct {
		Name   string      `json:"name"`
		ID     uint32      `json:"id"`
		Shard  int         `json:"shard"`
		Config QueueConfig `json:"config"`
	}
	alterQueue struct {
		Name   string       `json:"name"`
		Config QueueConfig  `json:"config"`
		Was    *QueueConfig `json:"was,omitempty"` // which Config was made of
	}
	// deleteQueue deletes the queue of that name, and of that id if it is not 0.
	deleteQueue struct {
		Name string `json:"name"`
		ID   uint32 `json:"id,omitempty"`
	}
	bind   struct{ Binding routing.Binding }
	unbind struct{ Binding routing.Binding }
	// bindTopic has a queue have all records of a topic.
	bindTopic struct {
		Topic       string        `json:"topic"`
		Incarnation uint64        `json:"incarnation"`
		Queue       uint32        `json:"queue"`
		Logs        []declaredLog `json:"logs"`
	}
	unbindTopic struct {
		Topic string `json:"topic"`
		Queue uint32 `json:"queue"`
		// Ends says, by log, what is not for the queue any more. Where it does not, nothing
		// is.
		Ends map[uint32]uint64 `json:"ends,omitempty"`
	}
	// forgetFeed forgets where a queue was bound, once it has released it.
	forgetFeed struct {
		Log   uint32 `json:"log"`
		Shard int    `json:"shard"`
		Queue uint32 `json:"queue"`
	}
	// declaredLog is a partition, and from where on it is to be read.
	declaredLog struct {
		ID        uint32 `json:"id"`
		Partition int    `json:"partition"`
		From      uint64 `json:"from"`
	}
	// declareLog gives a partition an id. It is answered with the *logInfo.
	declareLog struct {
		ID          uint32 `json:"id"`
		Topic       string `json:"topic"`
		Incarnation uint64 `json:"incarnation"`
		Partition   int    `json:"partition"`
	}
	// renewLog gives a partition that has lost its end another id, with the same feeds.
	// It is answered with the *logInfo.
	renewLog struct {
		Old uint32 `json:"old"`
		New uint32 `json:"new"`
	}
	forgetLog struct {
		ID uint32 `json:"id"`
	}
	declareFeed struct {
		Log   uint32 `json:"log"`
		Shard int    `json:"shard"`
		Queue uint32 `json:"queue,omitempty"`
		From  uint64 `json:"from"`
		// Spans are those of a queue, if they are not all from From on.
		Spans [][2]uint64 `json:"spans,omitempty"`
	}
	// orphanLog, setIDs: only in snapshots.
	orphanLog struct {
		ID uint32 `json:"id"`
	}
	setIDs struct{ Next ids }
)

func (declareExchange) op() string { return "declare-exchange" }
func (deleteExchange) op() string  { return "delete-exchange" }
func (declareQueue) op() string    { return "declare-queue" }
func (alterQueue) op() string      { return "alter-queue" }
func (deleteQueue) op() string     { return "delete-queue" }
func (bind) op() string            { return "bind" }
func (unbind) op() string          { return "unbind" }
func (bindTopic) op() string       { return "bind-topic" }
func (unbindTopic) op() string     { return "unbind-topic" }
func (declareLog) op() string      { return "declare-log" }
func (renewLog) op() string        { return "renew-log" }
func (forgetLog) op() string       { return "forget-log" }
func (declareFeed) op() string     { return "declare-feed" }
func (forgetFeed) op() string      { return "forget-feed" }
func (orphanLog) op() string       { return "orphan-log" }
func (setIDs) op() string          { return "set-ids" }

func (c *declareExchange) assign(next *ids) { c.Number = take(&next.Exchange) }
func (c *declareQueue) assign(next *ids)    { c.ID = take(&next.Queue) }
func (c *declareLog) assign(next *ids)      { c.ID = take(&next.Log) }
func (c *renewLog) assign(next *ids)        { c.New = take(&next.Log) }
func (c *bindTopic) assign(next *ids) {
	for i := range c.Logs {
		c.Logs[i].ID = take(&next.Log)
	}
}

// done answers a command that has nothing to say.
type done struct{}
