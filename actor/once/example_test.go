package once_test

import (
	"context"
	"fmt"
	"log"

	"github.com/troupestream/troupe/actor/once"
	"github.com/troupestream/troupe/runtime"
)

// An order is charged once, however often its message comes.
func ExampleLedger_Do() {
	ctx := context.Background()
	engine, err := runtime.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close(ctx)
	charges, err := once.Open[string](ctx, engine, "charges", once.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer charges.Close(ctx)

	for range 2 {
		receipt, repeated, err := charges.Do(ctx, "ord_123", func(_ context.Context, doubt bool) (string, error) {
			fmt.Println("the bank is asked to pay, in doubt:", doubt)
			return "receipt 1", nil
		})
		fmt.Println(receipt, repeated, err)
	}
	// Output:
	// the bank is asked to pay, in doubt: false
	// receipt 1 false <nil>
	// receipt 1 true <nil>
}
