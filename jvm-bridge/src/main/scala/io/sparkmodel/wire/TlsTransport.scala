// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{ByteArrayInputStream, EOFException}
import java.net.Socket
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8
import java.security.cert.{CertificateException, CertificateFactory, X509Certificate}
import javax.net.ssl.{SSLContext, SSLEngine, SSLEngineResult, TrustManager, X509ExtendedTrustManager}
import javax.net.ssl.SSLEngineResult.HandshakeStatus._

import scala.annotation.tailrec

/** TLS over another transport; the handshake is done on the way, by the first bytes that are written. */
private[wire] final class TlsTransport(below: Transport, context: SSLContext) extends Transport {
  private val engine = context.createSSLEngine()
  engine.setUseClientMode(true)
  engine.beginHandshake()

  private val packet = engine.getSession.getPacketBufferSize
  private val incoming = ByteBuffer.allocate(2 * packet).limit(0) // encrypted, read and not opened
  private val clear = ByteBuffer.allocate(engine.getSession.getApplicationBufferSize).limit(0) // opened and not taken
  private val outgoing = ByteBuffer.allocateDirect(8 * packet).limit(0) // encrypted and not written
  private var isEnded = false

  override def read(target: ByteBuffer): Int = {
    var count = 0
    var isMoving = true
    while (count == 0 && isMoving) {
      if (clear.hasRemaining) count = take(target)
      else if (isEnded) count = -1
      else isMoving = shake() && open()
    }
    count
  }

  override def write(sources: Array[ByteBuffer]): Boolean = {
    var isMoving = shake() && flush()
    while (isMoving && sources.exists(_.hasRemaining)) {
      outgoing.clear()
      while (outgoing.remaining >= packet && sources.exists(_.hasRemaining)) close(sources)
      outgoing.flip()
      isMoving = flush()
    }
    isMoving
  }

  override def await(millis: Long): Boolean = below.await(millis)

  override def close(): Unit = below.close()

  /** Go on with a handshake as far as it goes; true if none is under way. */
  @tailrec
  private def shake(): Boolean = engine.getHandshakeStatus match {
    case NEED_TASK =>
      Iterator.continually(engine.getDelegatedTask).takeWhile(_ != null).foreach(_.run())
      shake()
    case NEED_WRAP =>
      flush() && {
        outgoing.clear()
        close(Array(TlsTransport.nothing))
        outgoing.flip()
        true
      } && shake()
    case NEED_UNWRAP | NEED_UNWRAP_AGAIN =>
      if (isEnded) throw new EOFException("the connection was closed amid a TLS handshake")
      flush() && open() && shake()
    case _ => true
  }

  /** Encrypt one packet's worth. */
  private def close(sources: Array[ByteBuffer]): Unit =
    if (engine.wrap(sources, outgoing).getStatus == SSLEngineResult.Status.CLOSED) {
      throw new EOFException("the other side closed its TLS")
    }

  /** Decrypt the next packet, if there is a whole one; false if not. */
  private def open(): Boolean = {
    clear.clear()
    val status =
      try engine.unwrap(incoming, clear).getStatus
      finally clear.flip()
    status match {
      case SSLEngineResult.Status.BUFFER_UNDERFLOW =>
        incoming.compact()
        val count =
          try below.read(incoming)
          finally incoming.flip()
        isEnded = count < 0
        count != 0
      case SSLEngineResult.Status.CLOSED =>
        isEnded = true
        true
      case _ => true
    }
  }

  private def flush(): Boolean = !outgoing.hasRemaining || below.write(Array(outgoing))

  private def take(target: ByteBuffer): Int = {
    val count = math.min(clear.remaining, target.remaining)
    target.put(clear.slice(clear.position(), count))
    clear.position(clear.position() + count)
    count
  }
}

private[wire] object TlsTransport {
  private val nothing = ByteBuffer.allocate(0)

  /** A context that trusts exactly the certificate in a PEM text, whatever host shows it. */
  def context(pem: String): SSLContext = {
    val wanted =
      try CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(pem.getBytes(UTF_8)))
      catch {
        case e: CertificateException =>
          val what = "Cannot read the handle of a pool"
          throw Frames.broken(what, s"its TLS certificate is damaged: ${e.getMessage}", e)
      }
    val context = SSLContext.getInstance("TLS")
    context.init(null, Array[TrustManager](new Only(wanted.asInstanceOf[X509Certificate])), null)
    context
  }

  private final class Only(wanted: X509Certificate) extends X509ExtendedTrustManager {
    private def check(chain: Array[X509Certificate]): Unit =
      if (chain.headOption.forall(_ != wanted)) throw new CertificateException("it is not the pool's certificate")

    private def refuse(): Nothing = throw new CertificateException("no client is expected")

    override def checkServerTrusted(chain: Array[X509Certificate], kind: String): Unit = check(chain)
    override def checkServerTrusted(chain: Array[X509Certificate], kind: String, socket: Socket): Unit = check(chain)
    override def checkServerTrusted(chain: Array[X509Certificate], kind: String, engine: SSLEngine): Unit = check(chain)
    override def checkClientTrusted(chain: Array[X509Certificate], kind: String): Unit = refuse()
    override def checkClientTrusted(chain: Array[X509Certificate], kind: String, socket: Socket): Unit = refuse()
    override def checkClientTrusted(chain: Array[X509Certificate], kind: String, engine: SSLEngine): Unit = refuse()
    override def getAcceptedIssuers: Array[X509Certificate] = Array(wanted)
  }
}
