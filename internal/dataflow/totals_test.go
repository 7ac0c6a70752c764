package dataflow

import (
	"reflect"
	"sync/atomic"
	"testing"
)

// Every counter but the watermark, which is no sum, has its total.
func TestTotalsLeaveNoCounterOut(t *testing.T) {
	var m Metrics
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		v.Field(i).Addr().Interface().(*atomic.Int64).Store(int64(i + 1))
	}
	var sum Totals
	m.AddTo(&sum)
	m.AddTo(&sum)
	totals := reflect.ValueOf(sum)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if f := totals.FieldByName(name); name != "Watermark" && (!f.IsValid() || f.Int() != 2*int64(i+1)) {
			t.Errorf("%s is %v", name, f)
		}
	}
}
