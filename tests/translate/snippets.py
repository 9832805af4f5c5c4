"""Snippets of pure Python that the interpreter and Python run."""

SNIPPETS = {
    "numbers": """
        a = 7 // 2 + 7 % 3 - 2 ** 5 * 3 / 4
        b = -a + (not a) + (3 << 2 | 1) ^ 6 & ~5 if False else 1e3
        c = (1 < 2 <= 2 != 3) and 5 or 6
        d = 0x10 + 0b11 + 1_000 + int('12') + int(3.9) + round(2.567, 1) + abs(-3) + True
        e = divmod(17, 5), min(3, 1, 2), max([4, 9], key=lambda v: -v), sum([1, 2], 10)
        f = 3 if a is None else [None is None, a is not None, 1 in (1, 2), 'x' not in 'abc']
    """,
    "texts": """
        s = 'res' + str(2) + chr(ord('a') + 1) + '_branch'
        t = '%s_%d_%05.2f%%' % ('a', 3, 1.5), '%(k)s' % {'k': 1}, '{:>6}|{!r}'.format('a', 'b')
        u = '{0}_{name}_{1:03d}'.format('x', 7, name=4), '{0[1]}'.format([1, 2])
        n, w = 5, 8
        v = f'{n}_{s!r}_{n:0{w}d}_{n / 3:.2f}_{{}}_{s.upper()}_{n=}'
        x = ' a,b '.strip().split(','), '-'.join(['a', 'b']), 'abc'[::-1], 'aba'.replace('a', 'x')
        y = 'a' * 3, 'abc'.startswith('ab'), 'x'.center(5, '.'), 'Ab'.swapcase(), '3'.zfill(4)
        z = 'one' 'two', r'\\d', b'ab', 'é', [c for c in 'abc'], len('abc'), 'a' < 'b'
    """,
    "lists": """
        a = [1, 2, 3]
        b = a
        b += [4]
        a.append(5)
        a.insert(0, 0)
        a[1:2] = [9, 9]
        c, (d, *e), f = 1, [2, 3, 4], a.pop()
        *g, h = 'abc'
        del a[0]
        a.sort(reverse=True)
        i = sorted('hello', key=lambda ch: (ch != 'l', ch))
        j = [x * y for x in range(3) for y in (1, 2) if x != y]
        k = [*a, *range(2)], (*'ab',), {**{'a': 1}, 'b': 2}
        l = list(zip('ab', [1, 2])) + list(enumerate('ab', start=2)) + list(map(str, [1]))
        m = a[-1], a[1:], a[::2], (1, 2) + (3,), [0] * 3, list(reversed([1, 2])), [1, 2] == [1, 2]
        n = any([0, 1]), all([]), list(filter(None, [0, 1, 2])), a.index(9), a.count(9)
        o = [[0] * 2] * 2
        o[0][0] = 1
        p = a.copy()
        p.clear()
        a.extend(x for x in (7, 8))
        a.remove(7)
        a.reverse()
    """,
    "dicts": """
        d = {'a': 1, **dict(b=2)}
        d['c'] = d.get('z', 3)
        d['a'] += 10
        e = [k + str(v) for k, v in d.items()], list(d), d.pop('b'), d.setdefault('q', [])
        d['q'].append(1)
        d.update({'u': 1}, v=2)
        f = {k: v for v, k in enumerate('ab')}, {1, 2} | {3}, 'a' in d, len(d), sorted(d.keys())
        g = {3, 3, 4}
        g.add(5)
        h = dict([('x', 1)]), dict(zip('ab', (1, 2))), list(d.values())
        del d['a']
    """,
    "functions": """
        def f(a, b=2, *rest, c, d=4, **more):
            return a, b, rest, c, d, sorted(more.items())
        r = f(1, c=3), f(1, 2, 3, 4, c=5, z=6), f(*[1, 2], **{'c': 1})
        def outer(n):
            def inner(m):
                nonlocal n
                n += m
                return n
            return inner
        add = outer(10)
        s = add(1), add(2)
        count = 0
        def bump():
            global count
            count += 1
        bump(); bump()
        def fact(n): return 1 if n < 2 else n * fact(n - 1)
        t = fact(10), (lambda x, y=2: x ** y)(3)
        def shared(item, into=[]):
            into.append(item)
            return into
        u = shared(1), shared(2)
        def gen(n):
            for i in range(n):
                yield i
            yield from 'ab'
        v = list(gen(3)), sum(x for x in range(4)), next(gen(2))
        def twice(fn):
            def wrapped(*args, **kwargs):
                return fn(*args, **kwargs) * 2
            return wrapped
        @twice
        def three(): return 3
        w = three()
        def nothing(): pass
        x = nothing()
        def early(n):
            for i in range(n):
                if i == 2:
                    return i
            else:
                return 'none'
        y = early(5), early(1)
        def doc():
            'text'
            return doc.__doc__
        z = doc()
    """,
    "loops": """
        a = []
        for i, (x, y) in enumerate([(1, 2), (3, 4)]):
            if x == 3:
                continue
            a.append(x + y + i)
        else:
            a.append('else')
        n = 10
        while n > 3:
            n -= 2
            if n == 4:
                break
        else:
            a.append('never')
        while n:
            n = 0
        else:
            a.append('end')
        for k in range(5):
            for j in range(5):
                if j == k:
                    break
            if k == 3:
                break
        if (m := len(a)) > 1:
            b = m
        f = [last := v for v in (1, 2)]
        items = [1]
        for v in items:
            if v < 4:
                items.append(v + 1)
        assert b > 1, 'message'
        (p, q), r = (1, 2), 3
        p = q = r
        t: int = 5
        only: int
    """,
    "classes": """
        class Base:
            shared = [1]
            size = 3
            def __init__(self, n=1):
                self.n = n
            def double(self):
                return self.n * 2
            @property
            def triple(self):
                return self.n * 3
            @staticmethod
            def plain(x): return x + 1
            @classmethod
            def make(cls, n): return cls(n + cls.size)
            def __len__(self): return self.n
            def __getitem__(self, i): return i * self.n
            def __call__(self, x): return x + self.n
            def __add__(self, other): return self.n + other
            def __eq__(self, other): return self.n == other.n
            def __str__(self): return f'B{self.n}'
        class Child(Base):
            size = 5
            def __init__(self, n):
                super().__init__(n)
                self.m = super(Child, self).double()
            def double(self): return super().double() + 1
        c = Child(4)
        r = c.n, c.m, c.double(), c.triple, Base.plain(1), c.plain(2), Child.make(1).n
        s = len(c), c[3], c(1), c + 1, c == Child(4), str(c), isinstance(c, Base), c.size
        c.extra = 1
        c.n += 1
        t = c.extra, hasattr(c, 'extra'), getattr(c, 'none', 0), c.n, f'{c}', '%s' % str(c)
        setattr(c, 'q', 2)
        u = c.q, Child.shared is Base.shared, Child.__name__, isinstance(3, (int, str))
        y = type(3) == int
        class Config:
            A = 1
            B = A + 1
            C = [B for _ in range(2)] if False else [2]
        v = Config.A + Config().B
        del c.extra if False else c
    """.replace("del c.extra if False else c", "w = bool(Config())"),
    "exceptions": """
        log = []
        try:
            log.append(1)
            {}['x']
            log.append(2)
        except (KeyError, IndexError) as error:
            log.append('key')
        else:
            log.append('else')
        finally:
            log.append('finally')
        def fails():
            raise ValueError('no')
        try:
            fails()
        except KeyError:
            log.append('no')
        except Exception:
            log.append('value')
        try:
            pass
        except ValueError:
            log.append('never')
        else:
            log.append('fine')
        class Mine(ValueError):
            pass
        def returns():
            try:
                return 1
            finally:
                log.append('cleanup')
        r = returns()
        try:
            undefined_name
        except NameError:
            log.append('name')
        try:
            [][1]
        except LookupError:
            log.append('lookup')
        try:
            1 / 0
        except ArithmeticError:
            log.append('zero')
    """,
    "library": """
        import math, os, copy, itertools, functools, operator
        from collections import OrderedDict
        from math import ceil as up
        a = math.ceil(2.1), up(1.5), math.sqrt(9), math.pi, math.floor(-1.5), math.log2(8)
        b = os.path.join('a', 'b', 'c.h5'), os.path.basename('a/b'), os.path.splitext('x.h5')
        c = [[1]]
        d = copy.deepcopy(c)
        d[0].append(2)
        e = copy.copy(c)
        f = list(itertools.product('ab', repeat=2))[:3], list(itertools.chain([1], [2]))
        g = functools.reduce(lambda p, q: p * q, [1, 2, 3]), functools.partial(pow, 2)(3)
        from collections import namedtuple
        Block = namedtuple('Block', ['n', 'k'])
        block = Block(8, k=3)
        (n, k), size, first, t = block, len(block), block[0], (*block, block.k)
        del block
        h = OrderedDict([('a', 1)])['a'], operator.mul(2, 3), math.prod([2, 3])
    """,
    "main": """
        if __name__ == '__main__':
            x = 1
        else:
            x = 2
    """,
}  # fmt: skip
