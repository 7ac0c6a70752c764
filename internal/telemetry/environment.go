package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// asked says whether the environment asks for the export of a signal, which is
// TRACES or METRICS.
func asked(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
		os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// checkEndpoint refuses an address that the exporter of a signal would not use.
// Left to itself the exporter takes https://localhost instead, and says so nowhere
// that a user looks.
func checkEndpoint(signal string) error {
	if exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" && exporter != "otlp" {
		return nil
	}
	own, all := "OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
	grpc := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")) == "grpc"
	// The exporter parses both, and takes the signal's own where there are two.
	return errors.Join(checkURL(own, grpc), checkURL(all, grpc))
}

func checkURL(variable string, grpc bool) error {
	text := strings.TrimSpace(os.Getenv(variable))
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		var why *url.Error // which repeats the text
		if errors.As(err, &why) {
			err = why.Err
		}
		return fmt.Errorf("%s=%q is not the address of a collector: %w; set it to one like http://localhost:4318, or unset it", variable, text, err)
	}
	web := u.Scheme == "http" || u.Scheme == "https"
	// Over gRPC other schemes are names that gRPC resolves: unix:, dns:, host:port.
	if web && u.Hostname() == "" || !web && !grpc {
		return fmt.Errorf("%s=%q is not the address of a collector: it must begin with http:// or https:// and a host; set it to one like http://localhost:4318, or unset it", variable, text)
	}
	return nil
}
