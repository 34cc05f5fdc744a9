import { describe, expect, it } from "vitest";
import { duration, roughDuration, ticking } from "./format.js";
import { ENGLISH, KOREAN } from "./words.js";

describe("durations", () => {
  const cases: readonly (readonly [number, string, string])[] = [
    [480, "480 ms", "480ms"],
    [3_210, "3.2 s", "3.2초"],
    [65_000, "1 m 05 s", "1분 05초"],
    [7_380_000, "2 h 03 m", "2시간 03분"],
  ];
  it.each(cases)("%d ms is said in English and Korean", (ms, english, korean) => {
    expect(duration(ms)).toBe(english);
    expect(duration(ms, ENGLISH.units)).toBe(english);
    expect(duration(ms, KOREAN.units)).toBe(korean);
  });

  it("a clock and an estimate have units too", () => {
    expect(ticking(9_999, KOREAN.units)).toBe("9초");
    expect(ticking(61_000, KOREAN.units)).toBe("1분 01초");
    expect(roughDuration(42_000, KOREAN.units)).toBe("45초");
    expect(roughDuration(3_900_000, KOREAN.units)).toBe("1시간 5분");
    expect(roughDuration(3_900_000)).toBe("1 h 5 m");
  });
});

describe("why a connection is lost", () => {
  it("is the server's own text in English", () => {
    expect(ENGLISH.reason({ code: 4429, message: "too many connections" })).toBe("too many connections");
  });

  it("is said in Korean, with the server's text where it says what is wrong", () => {
    expect(KOREAN.reason({ code: null, message: "the connection broke" })).toBe(
      "서버와의 연결이 끊어졌습니다",
    );
    expect(KOREAN.reason({ code: 4401, message: "no token" })).toBe("로그인이 필요합니다");
    expect(KOREAN.reason({ code: 4400, message: "bad cursor" })).toBe("잘못된 요청입니다: bad cursor");
    expect(KOREAN.reason({ code: 4999, message: "of a newer relay" })).toBe("of a newer relay");
  });
});
