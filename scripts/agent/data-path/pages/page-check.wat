;; What page-checksum.ts computes, four columns to an instruction: PostgreSQL's checksum of data pages
;; (src/include/storage/checksum_impl.h). page-check-program.ts holds it compiled, and a test compares the two.
(module
  (import "pages" "memory" (memory 1))

  ;; The first page in [page, end) that has changed: its address, or `end` where all are sound.
  ;; page, end: addresses, a whole number of pages apart; block: of the first page, within its relation.
  ;; start: pages whose LSN is at or after it pass, as do those that were never used.
  (func (export "firstUnsound")
    (param $page i32) (param $end i32) (param $block i32) (param $start i64) (result i32)
    (block $found
      (loop $pages
        (br_if $found (i32.ge_u (local.get $page) (local.get $end)))
        (if
          (i32.and
            ;; pd_upper
            (i32.ne (i32.load16_u offset=14 (local.get $page)) (i32.const 0))
            ;; pd_lsn, its upper half first
            (i64.lt_u (i64.rotl (i64.load (local.get $page)) (i64.const 32)) (local.get $start)))
          (then
            ;; pd_checksum
            (br_if $found
              (i32.ne
                (i32.load16_u offset=8 (local.get $page))
                (call $checksum (local.get $page) (local.get $block))))))
        (local.set $page (i32.add (local.get $page) (i32.const 8192)))
        (local.set $block (i32.add (local.get $block) (i32.const 1)))
        (br $pages)))
    (local.get $page))

  ;; Sixty-four rows of thirty-two columns. A round of FNV-1a: t = sum ^ word, sum = t * prime ^ t >>> 17.
  (func $checksum (param $page i32) (param $block i32) (result i32)
    (local $row i32) (local $end i32) (local $prime v128) (local $kept v128) (local $t v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local.set $prime (i32x4.splat (i32.const 16777619)))
    (local.set $a (v128.const i32x4 0x5b1f36e9 0xb8525960 0x02ab50aa 0x1de66d2a))
    (local.set $b (v128.const i32x4 0x79ff467a 0x9bb9f8a3 0x217e7cd2 0x83e13d2c))
    (local.set $c (v128.const i32x4 0xf8d4474f 0xe39eb970 0x42c6ae16 0x993216fa))
    (local.set $d (v128.const i32x4 0x7b093b5d 0x98daff3c 0xf718902a 0x0b1c9cdb))
    (local.set $e (v128.const i32x4 0xe58f764b 0x187636bc 0x5d7b3bb1 0xe73de7de))
    (local.set $f (v128.const i32x4 0x92bec979 0xcca6c0b2 0x304a0979 0x85aa43d4))
    (local.set $g (v128.const i32x4 0x783125bb 0x6ca8eaa2 0xe407eac6 0x4b5cfc3e))
    (local.set $h (v128.const i32x4 0x9fbf8c76 0x15ca20be 0xf2ca9fd3 0x959bd756))
    ;; The checksum itself, in the first row's third word, counts as zero.
    (local.set $kept (v128.const i32x4 -1 -1 0xffff0000 -1))
    (local.set $row (local.get $page))
    (local.set $end (i32.add (local.get $page) (i32.const 8192)))
    (loop $rows
      (local.set $t (v128.xor (local.get $a) (v128.and (v128.load (local.get $row)) (local.get $kept))))
      (local.set $a (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $b) (v128.load offset=16 (local.get $row))))
      (local.set $b (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $c) (v128.load offset=32 (local.get $row))))
      (local.set $c (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $d) (v128.load offset=48 (local.get $row))))
      (local.set $d (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $e) (v128.load offset=64 (local.get $row))))
      (local.set $e (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $f) (v128.load offset=80 (local.get $row))))
      (local.set $f (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $g) (v128.load offset=96 (local.get $row))))
      (local.set $g (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $h) (v128.load offset=112 (local.get $row))))
      (local.set $h (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $kept (v128.const i32x4 -1 -1 -1 -1))
      (local.set $row (i32.add (local.get $row) (i32.const 128)))
      (br_if $rows (i32.lt_u (local.get $row) (local.get $end))))
    (local.set $t
      (v128.xor
        (v128.xor
          (v128.xor (call $ended (local.get $a)) (call $ended (local.get $b)))
          (v128.xor (call $ended (local.get $c)) (call $ended (local.get $d))))
        (v128.xor
          (v128.xor (call $ended (local.get $e)) (call $ended (local.get $f)))
          (v128.xor (call $ended (local.get $g)) (call $ended (local.get $h))))))
    (i32.add
      (i32.const 1)
      (i32.rem_u
        (i32.xor
          (local.get $block)
          (i32.xor
            (i32.xor (i32x4.extract_lane 0 (local.get $t)) (i32x4.extract_lane 1 (local.get $t)))
            (i32.xor (i32x4.extract_lane 2 (local.get $t)) (i32x4.extract_lane 3 (local.get $t)))))
        (i32.const 65535))))

  ;; Two more rounds, of zeros.
  (func $ended (param $sum v128) (result v128)
    (local $prime v128)
    (local.set $prime (i32x4.splat (i32.const 16777619)))
    (local.set $sum
      (v128.xor (i32x4.mul (local.get $sum) (local.get $prime)) (i32x4.shr_u (local.get $sum) (i32.const 17))))
    (v128.xor (i32x4.mul (local.get $sum) (local.get $prime)) (i32x4.shr_u (local.get $sum) (i32.const 17)))))
