package queue

// Effect is something to do. Unless it says otherwise it has to wait until the
// events of its command, and those of all before, are durable.
type Effect interface{ effect() }

// The effects.
type (
	// Deliver hands messages to a consumer. It need not wait for all events: those
	// up to number After have to be durable. See Queue.Sequence.
	Deliver struct {
		Consumer   string
		Deliveries []Delivery
		After      uint64
	}
	// Load asks for messages of a range of a log: see Loaded. It need not wait.
	Load struct {
		Log         uint32
		First, Next uint64
	}
	// DeadLetter asks for messages to be dead-lettered: see DeadLettered.
	DeadLetter struct{ Letters []Letter }
	// Charged answers Started.
	Charged struct {
		Consumer string
		Tag      uint64
		Attempt  int
	}
	// Recalled says that deliveries were taken back from a consumer which lives.
	Recalled struct {
		Consumer string
		Tags     []uint64
		Cause    Cause
	}
	// Pulled says that a Pull has ended: it is filled, or its time is up.
	Pulled struct {
		Consumer string
		Missing  int
	}
	// Cancelled says that a consumer has nothing in flight any more and is
	// forgotten.
	Cancelled struct{ Consumer string }
	// Active says which consumer of a queue with a single active one is it now.
	// It need not wait.
	Active struct{ Consumer string }
	// Wake asks for a Tick at a time. It replaces the one before, and need not wait.
	Wake struct{ At int64 }
	// Expired says that the queue is to be deleted: it was not used for
	// Config.Expires, or its last consumer has left and it is AutoDelete.
	Expired struct{ Unused bool }
)

// Letter is a message to dead-letter.
type Letter struct {
	Ref
	Body        Ref // where its body is: at Ref, unless it was relocated
	Reason      Reason
	Attempts    int    // that failed or were charged
	First, Last int64  // when the first and the last attempt failed; 0: none
	Error       string // of the Nack that ended it; "": it was not that, or is not known
}

func (Deliver) effect()    {}
func (Load) effect()       {}
func (DeadLetter) effect() {}
func (Charged) effect()    {}
func (Recalled) effect()   {}
func (Pulled) effect()     {}
func (Cancelled) effect()  {}
func (Active) effect()     {}
func (Wake) effect()       {}
func (Expired) effect()    {}
