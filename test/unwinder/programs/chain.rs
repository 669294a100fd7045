// Listens at the end of a chain of calls: through a generic function, a trait's method, a closure and an inlined function.
use std::net::TcpListener;

// Work after each call, so that none becomes a jump (std's black_box came later than what Debian has).
#[inline(always)]
fn opaque(number: usize) -> usize {
    unsafe { std::ptr::read_volatile(&number) }
}

struct Shop {
    sockets: Vec<TcpListener>,
}

trait Opens {
    fn open(&mut self) -> usize;
}

impl Opens for Shop {
    #[inline(never)]
    fn open(&mut self) -> usize {
        self.sockets.push(TcpListener::bind("127.0.0.1:0").unwrap());
        self.sockets.len()
    }
}

#[inline(never)]
fn third<T: Opens>(shop: &mut T) -> usize {
    shop.open() + opaque(0)
}

#[inline(always)]
fn inlined(shop: &mut Shop) -> usize {
    third(shop) + opaque(0)
}

#[inline(never)]
fn second(shop: &mut Shop) -> usize {
    inlined(shop) + opaque(0)
}

#[inline(never)]
fn call<F: FnMut(&mut Shop) -> usize>(shop: &mut Shop, mut what: F) -> usize {
    what(shop) + opaque(0)
}

#[inline(never)]
fn serve() -> usize {
    let mut shop = Shop { sockets: Vec::new() };
    let more = opaque(1);
    call(&mut shop, #[inline(never)] |shop| second(shop) + more)
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("thread") {
        std::thread::spawn(serve).join().unwrap();
    } else {
        serve();
    }
}
