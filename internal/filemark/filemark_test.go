package filemark

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A mark holds for every continuation of the file, and for no file that
// differs within one of the two windows.
func TestMarkTellsFilesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "pattern"), rapid.IntRange(1, 30).Draw(t, "times"))
		at := rapid.IntRange(0, len(file)).Draw(t, "at")
		m, err := Of(bytes.NewReader(file), int64(at))
		if err != nil {
			t.Fatal(err)
		}
		grown := append(bytes.Clone(file), "more"...)
		if d, err := m.Check(bytes.NewReader(grown), int64(len(grown))); d != "" || err != nil {
			t.Fatalf("a file that grew: %q, %v", d, err)
		}
		if at == 0 {
			return
		}
		cut := rapid.IntRange(0, at-1).Draw(t, "cut")
		if d, _ := m.Check(bytes.NewReader(file[:cut]), int64(cut)); d == "" {
			t.Fatal("a file that shrank below the mark was accepted")
		}
		i := rapid.IntRange(0, at-1).Draw(t, "changed")
		if i >= Window && i < at-Window {
			return
		}
		changed := bytes.Clone(file)
		changed[i] ^= 0x40
		if d, _ := m.Check(bytes.NewReader(changed), int64(len(changed))); d == "" {
			t.Fatalf("byte %d changed unnoticed", i)
		}
	})
}

func TestUnreadableFileVouchesForLengthOnly(t *testing.T) {
	m, err := Of(bytes.NewReader([]byte("short")), 10)
	if err == nil || m.Bytes != 10 || m.Head != "" {
		t.Fatalf("got %+v, %v", m, err)
	}
	if d, err := m.Check(bytes.NewReader(make([]byte, 10)), 10); d != "" || err != nil {
		t.Errorf("long enough, but: %q, %v", d, err)
	}
	if d, _ := m.Check(bytes.NewReader(make([]byte, 9)), 9); d == "" {
		t.Error("a file that is too short was accepted")
	}
	if d, _ := (Mark{Bytes: -1}).Check(bytes.NewReader(nil), 0); d == "" {
		t.Error("a negative position was accepted")
	}
}
