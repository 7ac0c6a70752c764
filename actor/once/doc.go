// Package once has things done once that must not be done twice: a payment, an e-mail,
// whatever the world outside would not take back.
//
// Queues and consumer groups deliver a message again when a handler, or its process,
// ends before the message is settled. So handlers have to expect work that is done
// already. A Ledger knows by a key, such as the number of the order, what was done and
// what came of it, and outlasts kill -9:
//
//	charges, err := once.Open[Receipt](ctx, engine, "charges", once.Options{})
//	receipt, _, err := charges.Do(ctx, order.ID, func(ctx context.Context, doubt bool) (Receipt, error) {
//		if doubt {
//			if r, found, err := bank.Find(ctx, order.ID); found || err != nil {
//				return r, err
//			}
//		}
//		return bank.Charge(ctx, order.ID, order.Cents)
//	})
//
// # What is promised
//
// A key whose effect has returned without an error is never given to an effect again:
// Do returns the first result, from the ledger. Of one key, one effect runs at a time.
//
// No ledger can promise more about the world by itself. Between an effect and the note
// that it was done, the process may end. The ledger knows that the effect has begun, and
// says so the next time: doubt is true when it may have happened, because the process
// died, or the effect returned an error or panicked. Then the effect has to ask the
// outside, which is why payment providers take a key with each payment and can be asked
// for it. An effect that can be repeated without harm need not ask.
//
// # What is kept
//
// A ledger is a topic of its name. Beginning is durable before the effect runs, and its
// result before Do returns: two records a key, of which those of many calls share their
// appends. Keys are remembered for Options.Window, and held in memory, some 150 bytes
// and the key each; results stay on disk.
package once
