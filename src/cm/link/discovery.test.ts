import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { certificateNames } from './certificate-names.ts';
import { discoveryUrls, readDiscoveryAnswer, webSocketUrl } from './discovery.ts';

const configured = 'https://sd.example.org/sd/v7/';
const config = { serviceDiscoveryUrl: configured, overrideServiceDiscoveryUrl: '' };

describe('[CM-02] which address is asked', () => {
  test('those of the certificate, its organisation, the configured one: all with the configured path', () => {
    const names = {
      issuerUris: ['https://one.example.net/other/path?q=1', 'https://two.example.net:8443'],
      organisation: 'fleet.example.net',
    };
    expect(discoveryUrls(config, names)).toEqual([
      'https://one.example.net/sd/v7/?q=1',
      'https://two.example.net:8443/sd/v7/',
      'https://fleet.example.net:9000/sd/v7/',
      configured,
    ]);
  });

  test('the override alone, when there is one', () => {
    const override = { ...config, overrideServiceDiscoveryUrl: 'http://localhost:7000/x' };
    expect(discoveryUrls(override, { issuerUris: ['https://one'], organisation: 'two' })).toEqual([
      'http://localhost:7000/sd/v7/',
    ]);
  });

  test('what is no HTTP address is left out, and without path it is the root', () => {
    expect(discoveryUrls(config, { issuerUris: ['ldap://x', 'nonsense'], organisation: 'a b' })).toEqual([configured]);
    expect(discoveryUrls({ ...config, serviceDiscoveryUrl: 'https://sd' }, { issuerUris: ['https://a/b'] })).toEqual([
      'https://a/',
      'https://sd/',
    ]);
    expect(discoveryUrls({ serviceDiscoveryUrl: '', overrideServiceDiscoveryUrl: '' }, undefined)).toEqual([]);
  });

  test('a certificate tells its organisation and the addresses of its issuer', async () => {
    // GeneralNames: a DNS name, which does not count, and two URIs.
    const uri = (text: string) => Buffer.concat([Buffer.from([0x86, text.length]), Buffer.from(text)]);
    const dns = Buffer.concat([Buffer.from([0x82, 1]), Buffer.from('x')]);
    const names = Buffer.concat([dns, uri('https://one.example'), uri('https://two.example')]);
    const value = Buffer.concat([Buffer.from([0x30, names.length]), names]);
    const certificate = await makeCertificate('unit, O=fleet.example.net', {
      extensions: [new x509.Extension('2.5.29.18', false, value)],
    });
    expect(certificateNames(certificate.pem)).toEqual({
      organisation: 'fleet.example.net',
      issuerUris: ['https://one.example', 'https://two.example'],
    });
    expect(certificateNames((await makeCertificate('unit')).pem)).toEqual({ issuerUris: [] });
  });
});

describe('[CM-03] what an answer means', () => {
  const answer = (body: object) => readDiscoveryAnswer(JSON.stringify(body));
  const wss = 'wss://edge.example.net/ws/v7/';
  const https = 'https://other.example.net/sd/v7/';

  test.each([0, 1, 2, 3, '0', 'NoError', 'redirect', 'RepeatLater', 'error', 'nonsense', 17])(
    'WebSocket addresses count whatever the code: %s',
    (errorCode) => {
      expect(answer({ errorCode, connectionInfo: [https, wss], nextRequestDelay: 9 })).toMatchObject({
        do: 'connect',
        nextRequestDelayMs: 9,
      });
    },
  );

  test('a redirect leads to another discovery, other codes to waiting', () => {
    for (const errorCode of [1, 'Redirect']) {
      expect(answer({ errorCode, connectionInfo: [https] })).toEqual({ do: 'ask', url: https });
    }
    expect(answer({ errorCode: 2, connectionInfo: [https], nextRequestDelay: 5 })).toMatchObject({
      do: 'wait',
      delayMs: 5,
      again: true,
    });
    expect(answer({ errorCode: 3 })).toMatchObject({ do: 'wait', delayMs: 0, again: false });
    expect(answer({ errorCode: 1 })).toMatchObject({ do: 'wait' });
  });

  test('without error an https address is a WebSocket too; keys and scalars are read leniently', () => {
    expect(answer({ CONNECTIONINFO: [https, 'nonsense'], NextRequestDelay: '7', authtoken: null })).toEqual({
      do: 'connect',
      urls: [https],
      token: '',
      nextRequestDelayMs: 7,
      offersDeltas: false,
    });
    expect(answer({ connectionInfo: [https], blobDeltas: true })).toMatchObject({ offersDeltas: true });
    expect(answer({ connectionInfo: [https], blobDeltas: 'perhaps' })).toMatchObject({ offersDeltas: false });
    expect(webSocketUrl(https)).toBe('wss://other.example.net/sd/v7/');
    expect(webSocketUrl('http://a')).toBe('ws://a/');
  });

  test('[R-06] any text is an answer or refused with a reason', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        try {
          expect(['connect', 'ask', 'wait']).toContain(readDiscoveryAnswer(body).do);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalidArgument' });
        }
      }),
    );
  });
});
