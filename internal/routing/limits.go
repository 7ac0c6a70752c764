package routing

// Limits bound what one table may hold and what one message may cost. A field
// that is 0 has its default. Commands that are replayed are held to the limits
// too: replay a table with limits at least as wide as it was built with.
type Limits struct {
	Exchanges         int // exchanges, the default one not counted; default 10,000
	Targets           int // declared queues and topics together; default 1,000,000
	ExchangeBindings  int // bindings of one exchange as the source; default 100,000
	ConsistentTargets int // destinations of one consistent-hash exchange, each looked at for each message; default 1,024
	Weight            int // of one binding of a consistent-hash exchange; default 1,000,000
	NameBytes         int // bytes of the name of an exchange, queue or topic; default 255
	KeyBytes          int // bytes of a routing key or a binding key; default 255
	Words             int // words of a routing key or a binding key; default 256, all that 255 bytes can hold
	Args              int // arguments of one binding; default 64
	ArgBytes          int // bytes of the names and texts of the arguments of one binding; default 16 KiB
	SenderKeys        int // CC and BCC keys of one message together; default 256
	Hops              int // exchanges that one message may pass through; default 1,024
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Exchanges:         orDefault(l.Exchanges, 10_000),
		Targets:           orDefault(l.Targets, 1_000_000),
		ExchangeBindings:  orDefault(l.ExchangeBindings, 100_000),
		ConsistentTargets: orDefault(l.ConsistentTargets, 1_024),
		Weight:            orDefault(l.Weight, 1_000_000),
		NameBytes:         orDefault(l.NameBytes, 255),
		KeyBytes:          orDefault(l.KeyBytes, 255),
		Words:             orDefault(l.Words, 256),
		Args:              orDefault(l.Args, 64),
		ArgBytes:          orDefault(l.ArgBytes, 16<<10),
		SenderKeys:        orDefault(l.SenderKeys, 256),
		Hops:              orDefault(l.Hops, 1_024),
	}
}
