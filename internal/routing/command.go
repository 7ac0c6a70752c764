package routing

// Command is what Apply takes: a plain value, which can be journalled. The same
// commands in the same order make the same table.
type Command interface{ command() }

// The commands.
type (
	// DeclareExchange makes an exchange, or makes sure that it is there just so;
	// if it is there with other attributes, the error is an ErrInequivalent.
	// Effect: ExchangeDeclared, if it is new.
	DeclareExchange struct{ Exchange }
	// DeleteExchange removes an exchange and the bindings from it and to it.
	// There is nothing to do if it does not exist. Effects: ExchangeDeleted,
	// Unbound for each binding, and what follows from these.
	DeleteExchange struct {
		Name     string
		IfUnused bool // fails with ErrInUse if a binding leads from it
	}
	// DeclareTarget makes a queue or a topic known: it can be bound from now on,
	// and a queue is reached through the default exchange. Effect: TargetDeclared,
	// if it is new.
	DeclareTarget struct{ Destination }
	// DeleteTarget removes a queue or a topic and the bindings to it. There is
	// nothing to do if it does not exist. Effects: TargetDeleted, Unbound for each
	// binding, and what follows from these.
	DeleteTarget struct{ Destination }
	// Bind makes a binding. Effect: Bound, if it is new.
	Bind struct{ Binding }
	// Unbind removes a binding. There is nothing to do if it does not exist.
	// Effects: Unbound and, if it was the last of an exchange with AutoDelete,
	// ExchangeDeleted and what follows from it.
	Unbind struct{ Binding }
)

func (DeclareExchange) command() {}
func (DeleteExchange) command()  {}
func (DeclareTarget) command()   {}
func (DeleteTarget) command()    {}
func (Bind) command()            {}
func (Unbind) command()          {}

// Effect is something that a command changed. A command without effects found
// everything as it wants it.
type Effect interface{ effect() }

// The effects.
type (
	// ExchangeDeclared says that there is a new exchange.
	ExchangeDeclared struct{ Exchange }
	// ExchangeDeleted says that an exchange is gone.
	ExchangeDeleted struct {
		Exchange
		Auto bool // for want of bindings, not by its name
	}
	// TargetDeclared says that there is a new queue or topic.
	TargetDeclared struct{ Destination }
	// TargetDeleted says that a queue or topic is gone.
	TargetDeleted struct{ Destination }
	// Bound says that there is a new binding. Its arguments are sorted by name.
	Bound struct{ Binding }
	// Unbound says that a binding is gone.
	Unbound struct{ Binding }
)

func (ExchangeDeclared) effect() {}
func (ExchangeDeleted) effect()  {}
func (TargetDeclared) effect()   {}
func (TargetDeleted) effect()    {}
func (Bound) effect()            {}
func (Unbound) effect()          {}
