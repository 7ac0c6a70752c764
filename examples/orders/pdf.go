package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

var errFont = errors.New("the font has no such letter")

// render makes a PDF of one page. It has two bugs, as such code has: it takes an initial
// of whoever has a name or not, and panics; and it cannot write what Latin-1 does not have.
func render(o Order) ([]byte, error) {
	initial := []rune(o.Customer)[0]
	for _, r := range o.Customer {
		if r > 0xff {
			return nil, fmt.Errorf("%w: %q", errFont, r)
		}
	}
	text := fmt.Sprintf("Invoice %s for %s (%c), %s, %s", o.ID, o.Customer, initial, money(o.Cents), o.time().UTC().Format(time.DateOnly))
	page := fmt.Sprintf("BT /F1 14 Tf 72 720 Td (%s) Tj ET", strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(text))
	return document(
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(page), page),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	), nil
}

// document puts objects, numbered from 1, into a file; the first is its root.
func document(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	table := fmt.Sprintf("xref\n0 %d\n%010d %05d f \n", len(objects)+1, 0, 65535)
	for i, o := range objects {
		table += fmt.Sprintf("%010d %05d n \n", b.Len(), 0)
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	fmt.Fprintf(&b, "%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", table, len(objects)+1, b.Len())
	return b.Bytes()
}

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
