//go:build !linux

package main

import "time"

func exactSleep()           {}
func sleep(d time.Duration) { time.Sleep(d) }
